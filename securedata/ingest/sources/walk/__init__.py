"""What lies under SRC: which files there are, and which of them are recordings."""
