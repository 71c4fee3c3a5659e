"""The rows of a corpus: their index in memory, and how commits change them."""
