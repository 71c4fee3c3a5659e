"""What a file is, judging by its name: a companion of recordings, a tar, or a table."""

from __future__ import annotations

from securedata.media.audio.suffixes import suffix_of

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

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
        *("thumbs.db", "desktop.ini", "_success", "segments", "text"),
        *("utt2spk", "spk2utt", "spk2gender", "utt2dur", "utt2lang"),
        *("reco2file_and_channel", "reco2dur", "utt2num_frames", "utt2uniq", "frame_shift"),
    )
)


def is_companion(name: str) -> bool:
    """Is it, by its name, a file that accompanies recordings, so that it need not be opened?"""
    lower = name.lower()
    return suffix_of(name) in _COMPANION_SUFFIXES or lower in _COMPANION_NAMES or lower.endswith(".jsonl.gz")


def is_tar(name: str) -> bool:
    """Is it, by its name, a tar, whose members may be recordings?"""
    return name.lower().endswith(TARS)


def is_line_table(name: str) -> bool:
    """Is it, by its name, a text with one row per line, which may be a manifest?"""
    return suffix_of(name) in (".csv", ".tsv", ".jsonl", ".ndjson")


def is_table(name: str) -> bool:
    """Is it, by its name, a table that may hold recordings in a column?"""
    return suffix_of(name) in (".parquet", ".arrow")
