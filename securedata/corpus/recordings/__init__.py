"""Recordings by URL: which corpus and path a URL means, the corpora that are open for it, and what `sd.info` says."""
