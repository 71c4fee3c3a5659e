"""KMS providers, wraps, the pin and the grant. Keys know neither head nor storage."""
