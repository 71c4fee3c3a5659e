"""The sections of benchmarks.corpus."""
