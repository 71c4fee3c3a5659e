"""The same content under several paths: found by digest, and treated as the run says."""
