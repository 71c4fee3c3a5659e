"""Data to measure on: recordings, buckets, corpora."""
