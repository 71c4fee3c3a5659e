"""The layouts by name. Apart from the code that reads them, so that the command shows them without loading it."""

from __future__ import annotations

from collections.abc import Mapping

LAYOUTS: Mapping[str, str] = {
    "audiofolder": "AudioFolder of Hugging Face: metadata.csv, .jsonl or .parquet with file_name",
    "librispeech": "LibriSpeech: SPEAKER/CHAPTER/SPEAKER-CHAPTER-N and .trans.txt",
    "speechcommands": "Speech Commands: WORD/HASH_nohash_N",
}
"""Name, and what it stands for, in one line for `--help` and docs."""

CHOICES = ("auto", "none", *LAYOUTS)
