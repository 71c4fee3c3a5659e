"""What is measured on: recordings, buckets, corpora."""
