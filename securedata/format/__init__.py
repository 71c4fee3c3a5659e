"""Bytes on storage: the sealed object, format v1. The normative text is docs/format.md."""
