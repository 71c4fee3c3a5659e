"""Corpora of features in place of recordings. The only room besides `torch` that computes with torch."""
