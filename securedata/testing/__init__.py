"""For those who write a KMS provider or a storage of their own: contract suites and fakes."""
