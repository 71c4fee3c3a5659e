"""A file of every kind that readers take: each way in which libsndfile reads, and other data."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.fs
import pyarrow.parquet as pq
import soundfile
from PIL import Image

from tests.kit.sources.recordings import Clip, encode, noise

# (format, subtype, rate): one of each way in which libsndfile reads
KINDS = [
    ("WAV", "PCM_16", 16_000),
    ("WAV", "FLOAT", 16_000),
    ("WAV", "ULAW", 48_000),
    ("WAV", "IMA_ADPCM", 48_000),
    ("WAV", "MS_ADPCM", 48_000),
    ("WAV", "GSM610", 48_000),
    ("WAV", "G721_32", 48_000),
    ("WAV", "NMS_ADPCM_16", 48_000),
    ("W64", "PCM_24", 16_000),
    ("RF64", "PCM_16", 16_000),
    ("AIFF", "PCM_16", 16_000),
    ("AIFF", "IMA_ADPCM", 48_000),
    ("AU", "PCM_16", 16_000),
    ("CAF", "PCM_16", 16_000),
    ("PAF", "PCM_24", 16_000),
    ("FLAC", "PCM_16", 48_000),
    ("OGG", "VORBIS", 48_000),
    ("OGG", "OPUS", 48_000),
    ("MP3", "MPEG_LAYER_III", 16_000),
]
RANDOM = np.random.default_rng(5)


def _audio(format: str, subtype: str, rate: int) -> Clip:
    data = encode(noise(8 if rate == 48_000 else 20, rate), rate, format, subtype)
    info = soundfile.info(io.BytesIO(data))
    columns = {
        "format": format,
        "subtype": subtype,
        "sample_rate": rate,
        "channels": 1,
        "frames": info.frames,
    }
    return Clip(f"{format}.{subtype}", data, columns=columns)


def other_file(path: str, data: bytes) -> Clip:
    return Clip(path, data, columns={"format": "", "frames": 0})


def _written(write: Callable[[Any], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def _zip(file: Any) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", RANDOM.bytes(1_000_000))


def _tar(file: Any) -> None:
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("a")
        member.size = 1_000_000
        archive.addfile(member, io.BytesIO(RANDOM.bytes(member.size)))


def _ipc(file: Any) -> None:
    table = pa.table({"a": RANDOM.integers(0, 2**62, 150_000)})
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _others() -> list[Clip]:
    numbers = RANDOM.integers(0, 2**62, 150_000)
    lines = "".join(f"{number},x{number}\n" for number in numbers[:40_000])
    picture = Image.fromarray(RANDOM.integers(0, 255, (600, 600, 3), np.uint8))
    made = {
        "a.json": json.dumps(numbers[:60_000].tolist()).encode(),
        "a.csv": b"a,b\n" + lines.encode(),
        "a.npy": _written(lambda file: np.save(file, numbers)),
        "a.parquet": _written(lambda file: pq.write_table(pa.table({"a": numbers}), file)),
        "a.arrow": _written(_ipc),
        "a.png": _written(lambda file: picture.save(file, "PNG")),
        "a.jpg": _written(lambda file: picture.save(file, "JPEG", quality=98)),
        "a.zip": _written(_zip),
        "a.tar": _written(_tar),
    }
    return [other_file(path, data) for path, data in made.items()]


def every_kind() -> list[Clip]:
    """A recording of each of KINDS, and a file of each other kind of data."""
    return [*(_audio(*kind) for kind in KINDS), *_others()]
