"""A corpus: open it, index it, commit to it, ingest, verify."""
