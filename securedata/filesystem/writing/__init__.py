"""Writing through fsspec: what is put under paths, and the commits that make it rows of the corpus."""
