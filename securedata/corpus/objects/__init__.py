"""Sealed objects: fetched, put, read as files, missed."""
