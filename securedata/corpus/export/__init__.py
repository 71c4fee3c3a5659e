"""Restore the source files, with a manifest."""
