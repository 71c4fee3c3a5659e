"""The test-suite; a package, so that tests share helpers as ``tests.kit``, ``tests.tree`` and ``tests.readme``."""
