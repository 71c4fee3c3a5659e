"""Corpora for tests, what they hold, and what harms them.

- `recorded`: corpora of recordings; `cloud`: the same on S3, under a transit key
- `rows`: corpora of a few rows whose objects are made-up bytes, in memory or in a folder
- `harmed`: corpora in memory that a test damages
- `contents`: what a corpus holds, read with full rights
- `erasing`: erases people, and loses objects
"""
