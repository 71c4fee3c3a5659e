"""Tests of `securedata.lifecycle.packing`."""
