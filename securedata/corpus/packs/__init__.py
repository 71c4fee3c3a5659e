"""Packs: sealed objects back to back in one file, and the rows that say where in it each is."""
