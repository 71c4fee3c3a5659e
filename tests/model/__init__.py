"""An explicit-state model of the commit protocol: every interleaving of a few actors, with crashes, checked for faults.

The model knows neither bytes nor cryptography: a key is a number, a seal is perfect, a put is atomic. It asks whether
the *order* of reads, puts and deletions is right. The code itself is tried by tests/corpus/state/test_interleavings.py.
"""
