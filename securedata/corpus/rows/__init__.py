"""The rows of a corpus: its index in memory, and what a commit makes of them."""
