"""Verify a corpus and prune it."""
