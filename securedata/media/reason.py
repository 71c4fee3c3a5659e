"""Why a media file cannot be used."""

from __future__ import annotations


class Undecodable(Exception):
    """The file cannot be decoded. The text says why, in one clause, and names no file: the caller knows which it is."""
