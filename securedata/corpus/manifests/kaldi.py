"""A data directory of Kaldi. Its wav.scp has commands that decrypt into a pipe, so no plaintext file is needed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping

from securedata.corpus.manifests.row import Row
from securedata.errors import InvalidArgument

_WAV = ("WAV", "WAVEX", "RF64")
_BLANK = re.compile(r"[\s%]")


def files(rows: Callable[[], Iterator[Row]]) -> Mapping[str, Callable[[], Iterator[str]]]:
    """The files by name, each as a function that makes its lines; sorted as bytes, which Kaldi requires.

    Only `segments` makes an utterance part of a recording, so it is there if any row is a segment, and has all then.
    Making the lines of wav.scp raises InvalidArgument if two rows would have one name there.
    """
    cut = any(row.length is not None for row in rows())

    def lines(of: Callable[[Row], str]) -> Callable[[], Iterator[str]]:
        return lambda: iter(sorted(filter(None, map(of, rows())), key=str.encode))

    found = {"wav.scp": lambda: _apart(lines(_recording)()), "utt2spk": lines(_speaker), "text": lines(_words)}
    found["utt2dur"] = lines(_duration)
    return found | ({"segments": lines(_segment)} if cut else {})


def _apart(lines: Iterator[str]) -> Iterator[str]:
    before = ""
    for line in lines:
        name = line.partition(" ")[0]
        if name == before:
            raise InvalidArgument(
                "two rows would have one name in Kaldi, which joins speaker and path by '-': list their folders apart, "
                "by path, split or speaker"
            )
        before = name
        yield line


def utterance_of(row: Row) -> str:
    """A name without blanks that begins with the speaker's, as Kaldi's sorting needs. See `_apart`."""
    return _name(f"{row.text('speaker')}-{row.path}" if row.text("speaker") else row.path)


def _name(text: str) -> str:
    return _BLANK.sub(lambda char: "".join(f"%{byte:02X}" for byte in char[0].encode()), text)


def _recording(row: Row) -> str:
    command = f"securedata cat {shlex.quote(row.url)}"
    if row.format not in _WAV:  # Kaldi reads WAV only
        command += " | flac -c -d -s -" if row.format == "FLAC" else " | ffmpeg -nostdin -v error -i - -f wav -"
    return f"{utterance_of(row)} {command} |"


def _segment(row: Row) -> str:
    return f"{utterance_of(row)} {utterance_of(row)} {row.offset:.6f} {row.offset + row.duration:.6f}"


def _speaker(row: Row) -> str:
    return f"{utterance_of(row)} {_name(row.text('speaker')) or utterance_of(row)}"


def _words(row: Row) -> str:
    words = " ".join(row.text("text").split())
    return f"{utterance_of(row)} {words}" if words else ""


def _duration(row: Row) -> str:
    return f"{utterance_of(row)} {row.duration:.6f}"
