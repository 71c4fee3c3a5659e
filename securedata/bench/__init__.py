"""`securedata bench`: how fast this host decrypts, and how fast a corpus becomes tensors on it."""
