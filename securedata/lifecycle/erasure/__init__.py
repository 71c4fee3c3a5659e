"""Erase people from a corpus: one commit under a fresh corpus key, strict deletion, verification, a signed receipt."""
