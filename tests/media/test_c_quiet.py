"""What C libraries print about a file does not reach stderr, and everything else does."""

from __future__ import annotations

import ctypes
import io
import os
import sys
import threading

import numpy as np
import pytest
import soundfile

from securedata.media.audio import mp3
from securedata.media.audio.decode import decode
from securedata.media.audio.probe import probe
from securedata.media.quiet import CQuiet, c_quiet
from securedata.media.reason import Undecodable
from tests.media.test_lossy_crops import made, of


def complain(text: bytes) -> None:
    """As a C library does."""
    libc = ctypes.CDLL(None)
    libc.fputs(text, ctypes.c_void_p.in_dll(libc, "stderr"))


def test_crops_of_an_mp3_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    t = np.arange(16_000 * 10) / 16_000  # tones at a low bit rate, whose frames borrow bits from each other
    tone = 0.4 * np.sin(1_131 * t + 3 * np.sin(25 * t)) * (0.5 + 0.5 * np.sin(19 * t))
    tone += 0.02 * np.random.default_rng(0).standard_normal(len(t))
    file = io.BytesIO()
    soundfile.write(file, tone, 16_000, format="MP3", bitrate_mode="CONSTANT", compression_level=0.99)
    one = of(file.getvalue(), "MPEG_LAYER_III")
    for start in range(30_000, 140_000, 3_001):
        with soundfile.SoundFile(io.BytesIO(one.data)) as audio:
            audio.seek(start)
            audio.read(8_000)
    assert capfd.readouterr().err, "else this test shows nothing"
    for start in range(30_000, 140_000, 3_001):
        decode(one, memoryview(one.data), True, start, 100)
    assert capfd.readouterr().err == ""
    complain(b"back again")
    assert capfd.readouterr().err == "back again"


def test_ingest_of_a_damaged_mp3_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(made("MP3", "MPEG_LAYER_III", 44_100, bitrate_mode="CONSTANT", compression_level=0.5).data)
    found = mp3.find(lambda at, n: bytes(data[at : at + n]), len(data))
    assert found is not None
    del data[: found.start]  # no header: its frames are counted, and as they do not follow each other, decoded
    data[20_000:30_000] = np.random.default_rng(0).bytes(10_000)
    with soundfile.SoundFile(io.BytesIO(data)) as audio, pytest.raises(soundfile.LibsndfileError):
        audio.read(audio.frames)
    assert capfd.readouterr().err, "else this test shows nothing"
    with pytest.raises(Undecodable):
        probe(bytes(data))
    assert capfd.readouterr().err == ""


def test_python_and_the_descriptor_are_not_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    with c_quiet:
        complain(b"lost")
        sys.__stderr__.write("python ") if sys.__stderr__ else None
        os.write(2, b"descriptor")
    assert "descriptor" in capfd.readouterr().err


def test_the_last_of_several_threads_turns_it_on_again(capfd: pytest.CaptureFixture[str]) -> None:
    quiet, inside, leave = CQuiet(), threading.Event(), threading.Event()

    def stay() -> None:
        with quiet:
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait(10)
    with quiet:
        complain(b"lost")
    complain(b"lost too")
    leave.set()
    thread.join()
    complain(b"heard")
    assert capfd.readouterr().err == "heard"


def test_a_forked_child_is_not_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    with c_quiet:
        child = os.fork()
        if child == 0:
            complain(b"child")
            os._exit(0)
        os.waitpid(child, 0)
    assert capfd.readouterr().err == "child"
