"""How the rows of a batch are read, and those of the batches that a worker will be asked for next."""
