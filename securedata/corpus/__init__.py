"""A corpus: create, open, index, commit, verify, prune and export."""
