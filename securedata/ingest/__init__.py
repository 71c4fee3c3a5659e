"""From a folder of recordings to sealed rows: what is there, whose voice it is, what the words are."""
