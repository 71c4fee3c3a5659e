"""WAVs whose writer was killed are taken as decoders read them, and named; other odd ends of WAVs are not."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from securedata.corpus.opening import open_corpus
from securedata.ingest.unfinished import Unfinished
from securedata.media.audio.probe import probe
from tests.kit.cli.commandline import Run, runner
from tests.kit.sources.recordings import encode, noise

WRITER = """
import os, signal, sys, wave
with open(sys.argv[1], "wb") as raw:
    file = wave.open(raw, "wb")
    file.setnchannels(1); file.setsampwidth(2); file.setframerate(16000)
    if sys.argv[2] == "0":
        file.writeframesraw(b"")
    for _ in range(int(sys.argv[3])):
        file.writeframesraw(bytes(range(200)) * 100)
    raw.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(path: Path, first: int, pieces: int) -> Path:
    """A recording whose writer, Python's `wave`, was killed; `first` frames are counted in its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([sys.executable, "-c", WRITER, path, str(first), str(pieces)], check=False)
    assert done.returncode == -signal.SIGKILL
    return path


@pytest.mark.parametrize("pieces", [3, 300])  # small, and large: sealed as it is read
def test_a_writer_that_was_killed_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    monkeypatch.chdir(tmp_path)
    run: Run = runner(capsys)
    killed(tmp_path / "src/ann/none.wav", 0, pieces)
    killed(tmp_path / "src/ann/first.wav", 1, pieces)
    soundfile.write(tmp_path / "src/ann/whole.wav", np.ones(1000, np.float32) * 0.1, 16_000)
    done = run("encrypt", tmp_path / "src", "./sealed", "--one-subject", "ann", "--json")
    assert done.code == 0, done.err
    odd = {os.path.basename(one["path"]): one["reason"] for one in done.json["problems"] if one["taken"]}
    assert sorted(odd) == ["first.wav", "none.wav"]
    assert f"counts no samples: its writer was killed; all {pieces * 10_000:,} frames were taken" in odd["none.wav"]
    assert f"{(pieces - 1) * 20_000:,} bytes follow the 10,000 frames that its header counts" in odd["first.wav"]
    with open_corpus("sealed") as corpus:
        frames = {corpus.value("path", i): corpus.value("frames", i) for i in range(3)}
    assert frames == {"ann/first.wav": 10_000, "ann/none.wav": pieces * 10_000, "ann/whole.wav": 1000}
    assert run("encrypt", tmp_path / "src", "./sealed", "--one-subject", "ann").code == 0


def remark(data: bytes, cut: int) -> str:
    length = Unfinished(probe(data), len(data))
    for at in range(0, len(data), cut):
        length.see(data[at : at + cut])
    return length.remark()


@pytest.mark.parametrize("cut", [64, 1000, 1023, 10**6])
def test_what_is_behind_the_samples(cut: int) -> None:
    plain = encode(noise(0.1), 16_000)
    end = len(plain)
    assert remark(plain, cut) == ""
    assert remark(plain + bytes(4095), cut) == ""
    assert "4,096 bytes follow the 1,600 frames" in remark(plain + bytes(4096), cut)
    assert remark(plain + b"LIST" + (5000).to_bytes(4, "little") + bytes(5000), cut) == ""
    assert remark(plain + b"ID3\x04" + bytes(100), cut) == ""
    streamed = bytearray(plain)
    at = streamed.index(b"data")
    streamed[at + 4 : at + 8] = b"\xff" * 4  # into a pipe
    assert remark(bytes(streamed), cut) == ""
    streamed[at + 4 : at + 8] = bytes(4)
    assert "counts no samples" in remark(bytes(streamed), cut)
    assert end == len(plain)
    for format in ("FLAC", "OGG"):
        assert remark(encode(noise(0.1), 16_000, format) + bytes(5000), cut) == ""
    odd = io.BytesIO()
    soundfile.write(odd, noise(0.0625)[:999], 16_000, format="WAV", subtype="PCM_U8")  # padded to an even number
    assert remark(odd.getvalue() + b"LIST" + (5000).to_bytes(4, "little") + bytes(5000), cut) == ""
