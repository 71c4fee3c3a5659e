"""`make demo`: a folder of real voices becomes a sealed corpus, and a model is trained on it."""

import textwrap


class DemoError(Exception):
    """The demo cannot go on. The text says why, and what to do; it is all that stderr shows."""


def say(text: str) -> None:
    """Print a paragraph, indented below its step's heading."""
    print(textwrap.fill(text, 100, initial_indent="     ", subsequent_indent="     ", break_on_hyphens=False))
