"""The source files again, and their manifest."""
