"""`make demo`: a folder of real voices becomes a sealed corpus, and a model is trained on it."""

import textwrap


class DemoError(Exception):
    """The demo cannot go on; the text says why and what to do, and stands alone on stderr."""


def say(text: str) -> None:
    """Print a paragraph, indented below the heading of its step."""
    print(textwrap.fill(text, 100, initial_indent="     ", subsequent_indent="     ", break_on_hyphens=False))
