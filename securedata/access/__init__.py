"""Short-lived sessions that see one corpus: policies, and the credential source that assumes a role."""
