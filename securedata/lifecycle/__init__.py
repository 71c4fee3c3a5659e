"""The life of people's data: uses of a corpus that erase, keep or account for what it holds of them."""
