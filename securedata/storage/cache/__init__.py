"""A cache of sealed bytes on a local disk, below the decryption: bounded, shared by the processes of one host."""
