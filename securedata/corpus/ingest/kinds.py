"""What a file of a source is by its name: a recording, a companion of recordings, or to be looked into."""

from __future__ import annotations

AUDIO_SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".mpga"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".sph", ".nist", ".voc"),
    *(".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".aac", ".webm", ".weba", ".mka", ".mkv", ".wma", ".amr"),
    *(".wv", ".tta", ".ac3"),
)
"""Taken for recordings without a look: what is in them is seen when they are sealed."""

_AUDIO = frozenset(AUDIO_SUFFIXES)

# Files that no one seals but a known layout reads; layouts.py says how.
SIDECAR_SUFFIX = ".trans.txt"
SIDECAR_NAMES = frozenset(("validation_list.txt", "testing_list.txt"))

_COMPANION_SUFFIXES = frozenset(
    (
        *(".txt", ".lab", ".textgrid", ".ctm", ".stm", ".rttm", ".srt", ".vtt", ".ass", ".eaf", ".phn", ".wrd", ".trs"),
        *(".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".scp"),
        *(".md", ".rst", ".html", ".htm", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".odt", ".ods", ".rtf", ".log"),
        *(".jpg", ".jpeg", ".png", ".gif", ".bmp", ".svg", ".webp", ".tif", ".tiff", ".ico", ".cue", ".m3u", ".m3u8"),
        *(".py", ".sh", ".ipynb", ".js", ".c", ".h", ".cpp", ".pl", ".m", ".r", ".css"),
        *(".npy", ".npz", ".pt", ".pth", ".pkl", ".h5", ".hdf5", ".parquet", ".arrow", ".ark", ".db", ".sqlite"),
        *(".md5", ".sha1", ".sha256", ".sha512", ".sfv", ".sig", ".asc", ".lock"),
    )
)
_COMPANION_NAMES = frozenset(
    (
        *("readme", "license", "licence", "copying", "notice", "authors", "changes", "changelog", "contributing"),
        *("makefile", "dockerfile", "manifest", "checksums", "md5sums", "sha1sums", "sha256sums", "version"),
        *("thumbs.db", "desktop.ini", "_success", "segments", "text", "utt2spk", "spk2utt", "spk2gender", "utt2dur"),
    )
)


def is_audio(name: str) -> bool:
    """Is it a recording by its suffix? Of a name that does not begin with a dot, or a path to one."""
    return suffix_of(name) in _AUDIO


def is_companion(name: str) -> bool:
    """Is it, by its name, what goes along with recordings, so that nobody has to look into it?"""
    return suffix_of(name) in _COMPANION_SUFFIXES or name.lower() in _COMPANION_NAMES


def is_sidecar(name: str) -> bool:
    """May a known layout read a file of this name?"""
    return name.lower() in SIDECAR_NAMES or is_transcript(name)


def is_transcript(name: str) -> bool:
    """Does it hold the words of LibriSpeech, by its name?"""
    return name.lower().endswith(SIDECAR_SUFFIX)


def suffix_of(name: str) -> str:
    """The suffix of a file's name, in lower case, with its dot."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def without_suffix(path: str) -> str:
    """The path less the suffix of a recording: what speaker patterns match.

    Another end of the name is part of it: rec.001 and rec.002 are two recordings, perhaps of two people.
    """
    dot = path.rfind(".")
    inside = dot > path.rfind("/") + 1
    return path[:dot] if inside and path[dot:].lower() in _AUDIO else path
