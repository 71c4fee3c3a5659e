"""The test-suite; what its tests share is in `tests.kit`."""
