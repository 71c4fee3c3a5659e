"""The work of an ingest, in threads or in other processes."""
