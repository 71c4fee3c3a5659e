"""Tests of `securedata.corpus.packs`."""
