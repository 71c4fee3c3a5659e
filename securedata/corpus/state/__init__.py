"""The head, what it names, and how it is read and replaced."""
