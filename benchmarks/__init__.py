"""Benchmarks: `python -m benchmarks.decrypt` and others; README.md beside this file says what each measures."""
