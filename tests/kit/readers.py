"""Readers of media and data, by what they are called: each takes a file object or a path, and gives what it read."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import wave
import zipfile
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.fs
import pyarrow.parquet as pq
import soundfile
from PIL import Image


def _loop(file: Any) -> Any:
    with soundfile.SoundFile(file) as audio:
        found = []
        while len(some := audio.read(4_000)):
            found.append(some)
    return np.concatenate(found)


def _halves(file: Any) -> Any:
    with soundfile.SoundFile(file) as audio:
        if not audio.seekable():
            return audio.read(audio.frames)
        audio.seek(audio.frames // 2)
        second = audio.read()
        audio.seek(0)
        return np.concatenate([audio.read(audio.frames // 2), second])


def _blocks(file: Any) -> Any:
    return np.concatenate(list(soundfile.blocks(file, 4_000)))


def _filled(file: Any) -> Any:
    with soundfile.SoundFile(file) as audio:
        if not audio.seekable():
            return audio.read(audio.frames)
        return np.concatenate(list(audio.blocks(4_000, fill_value=0.0)))


def _with(file: Any) -> Any:
    with file:
        return soundfile.read(file)[0]


SOUNDFILE = {"read": lambda file: soundfile.read(file)[0]} | {
    "blocks": _blocks,
    "loop": _loop,
    "seek": _halves,
    "filled": _filled,
    "with": _with,
}


def _from_zip(file: Any) -> bytes:
    with zipfile.ZipFile(file) as archive:
        return archive.read("a")


def _from_tar(file: Any) -> bytes:
    with tarfile.open(fileobj=file) as archive:
        member = archive.extractfile("a")
        assert member is not None
        return member.read()


def _pixels(file: Any) -> bytes:
    with Image.open(file) as picture:
        return picture.tobytes()


def _av(file: Any) -> Any:
    with av.open(file) as container:
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])


def _wave(file: Any) -> bytes:
    with wave.open(file) as audio:
        return audio.readframes(audio.getnframes())


def _buffered(file: Any) -> bytes:
    return b"".join(iter(lambda: buffered.read(1_000), b"")) if (buffered := io.BufferedReader(file)) else b""


def _lines(file: Any) -> list[Any]:
    with io.TextIOWrapper(file, newline="") as text:
        return list(csv.reader(text))


READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "wave": ("WAV.PCM_16", _wave),
    "av wav": ("WAV.PCM_16", _av),
    "av flac": ("FLAC.PCM_16", _av),
    "av mp3": ("MP3.MPEG_LAYER_III", _av),
    "av vorbis": ("OGG.VORBIS", _av),
    "av opus": ("OGG.OPUS", _av),
    "av aiff": ("AIFF.PCM_16", _av),
    "av adpcm": ("WAV.MS_ADPCM", _av),
    "json": ("a.json", json.load),
    "text": ("a.csv", _lines),
    "lines": ("a.csv", list),
    "readlines": ("a.csv", lambda file: file.readlines()),
    "buffered": ("a.csv", _buffered),
    "numpy": ("a.npy", np.load),
    "csv": ("a.csv", pyarrow.csv.read_csv),
    "parquet": ("a.parquet", pq.read_table),
    "ipc": ("a.arrow", lambda file: pa.ipc.open_file(file).read_all()),
    "png": ("a.png", _pixels),
    "jpg": ("a.jpg", _pixels),
    "zip": ("a.zip", _from_zip),
    "tar": ("a.tar", _from_tar),
}


def _arrow_fs(fs: Any) -> pyarrow.fs.FileSystem:
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs))


BY_PATH: dict[str, Callable[[Any], Any]] = {
    "pyarrow parquet": lambda fs: pq.read_table("a.parquet", filesystem=fs),
    "pyarrow csv": lambda fs: pyarrow.csv.read_csv(_arrow_fs(fs).open_input_stream("a.csv")),
    "pyarrow ipc": lambda fs: pa.ipc.open_file(_arrow_fs(fs).open_input_file("a.arrow")).read_all(),
    "rt": lambda fs: fs.open("a.csv", "rt").read(),
    "cat": lambda fs: fs.cat_file("a.csv"),
    "ranges": lambda fs: fs.cat_ranges(["a.csv"] * 3, [0, 300_000, 600_000], [9, 600_000, 700_000], on_error="raise"),
    "block": lambda fs: fs.read_block("a.csv", 300_000, 300_000, b"\n"),
    "BytesIO": lambda fs: _got(fs),
}


def _got(fs: Any) -> bytes:
    file = io.BytesIO()
    fs.get_file("a.csv", file)
    return file.getvalue()
