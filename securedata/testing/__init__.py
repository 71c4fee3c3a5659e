"""Contract suites and fakes for testing your own KMS provider or storage."""
