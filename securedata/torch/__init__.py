"""Sealed corpora as PyTorch datasets. The only layer that imports torch."""
