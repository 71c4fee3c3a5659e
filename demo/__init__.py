"""`make demo`: a folder of real voices becomes a sealed corpus, and a model is trained on it."""


class DemoError(Exception):
    """The demo cannot go on; the text says why and what to do, and stands alone on stderr."""
