"""The suffixes of recordings."""

from __future__ import annotations

AUDIO_SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".mpga"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".sph", ".nist", ".voc"),
    *(".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".aac", ".webm", ".weba", ".mka", ".mkv", ".wma", ".amr"),
    *(".wv", ".tta", ".ac3"),
)
"""Names with these count as recordings; their content is checked when they are sealed."""

_AUDIO = frozenset(AUDIO_SUFFIXES)


def is_audio(name: str) -> bool:
    """Whether it is a recording by its suffix, for a name that does not begin with a dot, or a path to one."""
    return suffix_of(name) in _AUDIO


def suffix_of(name: str) -> str:
    """The suffix of a file's name, in lower case, with its dot."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def without_suffix(path: str) -> str:
    """The path without the suffix of a recording: this is what speaker patterns match.

    Any other ending belongs to the name: rec.001 and rec.002 are two recordings, perhaps of two people.
    """
    dot = path.rfind(".")
    inside = dot > path.rfind("/") + 1
    return path[:dot] if inside and path[dot:].lower() in _AUDIO else path
