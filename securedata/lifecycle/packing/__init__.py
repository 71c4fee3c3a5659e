"""Rewrite small objects into packs, packs into packs without dead bytes, and packs into single objects."""
