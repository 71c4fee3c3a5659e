"""Why a media file cannot be used."""

from __future__ import annotations


class Undecodable(Exception):
    """The file cannot be decoded. The text says why, in one clause, without naming the file: the caller does that."""
