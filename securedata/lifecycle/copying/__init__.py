"""`export --to-corpus`: recordings handed on as a sealed corpus of its own."""
