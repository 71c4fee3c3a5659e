"""The header probe, against real files that libsndfile wrote, whole, cut off and damaged."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from securedata.media.audio import mp3
from securedata.media.audio.decode import decode
from securedata.media.audio.probe import AudioInfo, probe, probe_ranges
from securedata.media.reason import Undecodable
from tests.kit.sources.recordings import Recording

RATE = 16000
EVEN_SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
COMPRESSED = [
    ("flac", "FLAC", "PCM_16"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
]


def tone(frames: int = RATE, channels: int = 1) -> np.ndarray:
    """A tone with some noise, so that no encoder finds it trivial."""
    rng = np.random.default_rng(7)
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(frames) / RATE) + 0.05 * rng.standard_normal(frames)
    return np.repeat(wave[:, None], channels, axis=1).astype("float32")


def encoded(kind: str, subtype: str, frames: int = RATE, channels: int = 1, **options: object) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, tone(frames, channels), RATE, format=kind, subtype=subtype, **options)
    return out.getvalue()


def riff(*chunks: tuple[bytes, bytes | tuple[int, bytes]]) -> bytes:
    """A WAV from its chunks; a chunk given as (length, content) claims that length."""
    body = b"WAVE"
    for name, content in chunks:
        length, content = content if isinstance(content, tuple) else (len(content), content)
        body += name + length.to_bytes(4, "little") + content + b"\0" * (len(content) % 2)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


FMT_PCM16 = b"\1\0\1\0" + RATE.to_bytes(4, "little") + (2 * RATE).to_bytes(4, "little") + b"\2\0\x10\0"
PCM = (tone(1000)[:, 0] * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("subtype", EVEN_SUBTYPES)
def test_data_offset_is_where_the_samples_are(tmp_path: Path, kind: str, subtype: str, channels: int) -> None:
    content = encoded(kind, subtype, 777, channels)
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    info = probe(path)
    assert info == probe(content) == probe(bytearray(content)) == probe(memoryview(content))
    assert info[:5] == (kind, subtype, RATE, channels, 777)
    assert info.data_offset is not None
    assert_crops_are_right(content, info)


def assert_crops_are_right(content: bytes, info: AudioInfo) -> None:
    """The bytes from data_offset on, read as headerless audio of this subtype, are the recording."""
    raw = io.BytesIO(content[info.data_offset :])
    bare, _ = soundfile.read(
        raw,
        frames=info.frames,
        format="RAW",
        subtype=info.subtype,
        samplerate=info.sample_rate,
        channels=info.channels,
        endian="LITTLE",
        always_2d=True,
    )
    whole, _ = soundfile.read(io.BytesIO(content), always_2d=True)
    np.testing.assert_array_equal(bare, whole)


@pytest.mark.parametrize(("suffix", "kind", "subtype"), COMPRESSED)
def test_compressed_files_have_no_data_offset(tmp_path: Path, suffix: str, kind: str, subtype: str) -> None:
    content = encoded(kind, subtype, 3 * RATE, 2)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    assert probe(path) == probe(content) == AudioInfo(kind, subtype, RATE, 2, 3 * RATE, None)
    assert len(soundfile.read(io.BytesIO(content))[0]) == 3 * RATE


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_wav_with_blocks_has_no_data_offset(subtype: str) -> None:
    assert probe(encoded("WAV", subtype)).data_offset is None


def test_big_endian_wav_has_no_data_offset() -> None:
    out = io.BytesIO()
    soundfile.write(out, tone(), RATE, format="WAV", subtype="PCM_16", endian="BIG")
    assert out.getvalue()[:4] == b"RIFX"
    assert probe(out.getvalue()).data_offset is None


def test_chunks_before_the_data_are_walked_with_their_padding() -> None:
    content = riff((b"LIST", b"INFOx"), (b"fmt ", FMT_PCM16), (b"junk", b"abc"), (b"data", PCM))
    info = probe(content)
    assert info.frames == 1000
    assert info.data_offset is not None
    assert content[info.data_offset :] == PCM


def test_a_wrong_block_align_changes_nothing() -> None:
    """libsndfile takes the frames as packed, whatever the header says, and so does a crop."""
    content = riff((b"fmt ", FMT_PCM16[:8] + (4 * RATE).to_bytes(4, "little") + b"\4\0\x10\0"), (b"data", PCM))
    assert probe(content)[4:] == (1000, 44)
    whole, _ = soundfile.read(io.BytesIO(content), dtype="int16")
    assert whole.tobytes() == PCM


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF])
def test_the_placeholder_of_a_pipe_is_not_taken_for_a_length(length: int) -> None:
    info = probe(riff((b"fmt ", FMT_PCM16), (b"data", (length, PCM))))
    assert (info.frames, info.data_offset) == (1000, 44)


@pytest.mark.parametrize("kept", [44, 45, 46, 1000, -2, -1])
def test_a_wav_shorter_than_it_says_is_refused(tmp_path: Path, kept: int) -> None:
    content = riff((b"fmt ", FMT_PCM16), (b"data", PCM))
    path = tmp_path / "secret name.wav"
    path.write_bytes(content[:kept])
    for source in (path, content[:kept]):
        with pytest.raises(Undecodable, match=f"cut off: {len(content) - len(content[:kept])} bytes"):
            probe(source)


def test_an_rf64_shorter_than_it_says_is_refused() -> None:
    with pytest.raises(Undecodable, match="cut off"):
        probe(encoded("RF64", "PCM_16")[:-100])


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "ULAW"])
def test_cut_off_wav_of_any_subtype_is_refused(subtype: str) -> None:
    content = encoded("WAV", subtype)
    with pytest.raises(Undecodable, match="cut off"):
        probe(content[: len(content) // 2])


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.999])
def test_a_flac_or_mp3_shorter_than_it_says_is_refused(part: float) -> None:
    flac = encoded("FLAC", "PCM_16", 5 * RATE)
    mp3 = encoded("MP3", "MPEG_LAYER_III", 60 * RATE)
    for content, size in ((flac, len(flac)), (mp3, len(mp3) - 1500)):
        with pytest.raises(Undecodable, match="cut off"):
            probe(content[: int(size * part)])


def test_an_mp3_with_an_info_header() -> None:
    """The same header under its other name, which encoders write at a constant bit rate."""
    mp3 = encoded("MP3", "MPEG_LAYER_III", 5 * RATE).replace(b"Xing", b"Info", 1)
    assert probe(mp3).frames == 5 * RATE
    with pytest.raises(Undecodable, match="cut off"):
        probe(mp3[:-5000])
    # less than a frame is no cut, since encoders do not all count alike; what is left of it cannot be decoded
    assert 4.9 * RATE < probe(mp3[:-100]).frames == decoded(mp3[:-100]) < 5 * RATE


def test_an_mp3_behind_an_id3_tag() -> None:
    mp3 = encoded("MP3", "MPEG_LAYER_III", 5 * RATE)
    tag = b"ID3\3\0\0\0\0\2\0" + b"\0" * 256
    assert probe(tag + mp3).frames == 5 * RATE
    with pytest.raises(Undecodable, match="cut off"):
        probe((tag + mp3)[:-5000])
    with pytest.raises(Undecodable):
        probe(tag)


def test_what_cannot_be_noticed_is_a_shorter_recording() -> None:
    """The docstring says so; if libsndfile learns to notice, this tells us."""
    ogg = encoded("OGG", "VORBIS", 5 * RATE)
    assert 0 < probe(ogg[: len(ogg) // 2]).frames < 5 * RATE


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "PCM_16"), *((kind, subtype) for _, kind, subtype in COMPRESSED)]
)
def test_no_frames(kind: str, subtype: str) -> None:
    out = io.BytesIO()
    soundfile.write(out, np.zeros((0, 1)), RATE, format=kind, subtype=subtype)
    with pytest.raises(Undecodable):
        probe(out.getvalue())


def test_no_frames_in_a_wav_says_so() -> None:
    with pytest.raises(Undecodable, match="no frames"):
        probe(riff((b"fmt ", FMT_PCM16), (b"data", b"")))


def test_a_flac_that_does_not_know_its_length_is_refused() -> None:
    content = bytearray(encoded("FLAC", "PCM_16"))
    assert content[:4] == b"fLaC"
    content[21] &= 0xF0  # the 36 bits of STREAMINFO's total
    content[22:26] = bytes(4)
    with pytest.raises(Undecodable, match="does not say how long"):
        probe(content)


def counting(flac: bytes, frames: int) -> bytes:
    """A FLAC whose header counts so many frames."""
    return flac[:21] + bytes([flac[21] & 0xF0 | frames >> 32]) + (frames & 0xFFFFFFFF).to_bytes(4, "big") + flac[26:]


# the first of a frame, its last, between; of 40,000 in frames of 4096
@pytest.mark.parametrize("frames", [1, 1000, 4095, 4096, 4097, 8192, 20_000, 36_863, 36_864, 36_865, 39_000, 39_999])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_flac_whose_header_counts_too_few_frames_is_refused(tmp_path: Path, frames: int, channels: int) -> None:
    whole = encoded("FLAC", "PCM_16", 40_000, channels)
    assert probe(counting(whole, 40_000)).frames == 40_000
    content = counting(whole, frames)
    (tmp_path / "x.flac").write_bytes(content)
    for source in (content, tmp_path / "x.flac"):
        with pytest.raises(Undecodable, match=f"audio after the {frames} frames.*ffmpeg"):
            probe(source)
    with pytest.raises(Undecodable, match="audio after"):
        probe_ranges(lambda at, n: content[at : at + n], len(content))


@pytest.mark.parametrize("first", [4096, 5000, 40_000])
@pytest.mark.parametrize("second", [4096, 5000, 40_000, 90_000])
@pytest.mark.parametrize("between", [b"", b"TAG" + bytes(125), bytes(300)], ids=["", "tag", "zeros"])
def test_flacs_that_were_joined_are_refused(first: int, second: int, between: bytes) -> None:
    joined = encoded("FLAC", "PCM_16", first) + between + encoded("FLAC", "PCM_16", second)
    for front in (b"", b"ID3\3\0\0\0\0\2\0" + bytes(256)):
        with pytest.raises(Undecodable, match="joined"):
            probe(front + joined)


@pytest.mark.parametrize(
    "tail", [b"TAG" + bytes(125), b"APETAGEX" + bytes(24) + b"x" * 9000, bytes(200_000)], ids=["id3", "ape", "zeros"]
)
@pytest.mark.parametrize("frames", [1000, 4096, 40_000])
def test_a_flac_with_a_tag_or_zeros_behind_it_is_taken(tail: bytes, frames: int) -> None:
    assert probe(encoded("FLAC", "PCM_16", frames) + tail).frames == frames


@pytest.fixture
def fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The resource fork that libsndfile looks for beside a file without a name."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("x.sd2", tone(1000), 8000, format="SD2", subtype="PCM_16")
    (tmp_path / "._x.sd2").rename("._")
    return tmp_path / "._"


@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "SD2"])
@pytest.mark.parametrize(
    ("kind", "subtype"), [(k, s) for _, k, s in COMPRESSED] + [("WAV", "PCM_16"), ("AIFF", "PCM_16")]
)
def test_a_resource_fork_in_the_working_directory_counts_for_nothing(
    fork: Path, kind: str, subtype: str, is_empty: bool
) -> None:
    content = encoded(kind, subtype, 3 * RATE)
    aside = fork.rename("aside")
    expected = probe(content)
    wanted = decode(Recording(len(content), *expected[1:]), memoryview(content), True, 5000, 7000)
    aside.rename(fork)
    if is_empty:
        fork.write_bytes(b"")
    Path("x").write_bytes(content)
    found = [probe(content), probe("x"), probe_ranges(lambda at, n: content[at : at + n], len(content))]
    assert found == [expected] * 3
    got = decode(Recording(len(content), *expected[1:]), memoryview(content), True, 5000, 7000)
    assert np.array_equal(got, wanted)


def test_what_only_a_resource_fork_makes_audio_is_refused(fork: Path) -> None:
    content = b"caff\0\1" + np.random.default_rng(1).bytes(20_000)
    Path("x").write_bytes(content)
    with Path("x").open("rb") as file, soundfile.SoundFile(file.fileno(), closefd=False) as planted:
        assert planted.format == "SD2"
    for source in ("x", content):
        with pytest.raises(Undecodable, match=r"'\._' in the working directory"):
            probe(source)
    fork.unlink()
    with pytest.raises(Undecodable, match="no audio that libsndfile can decode"):
        probe("x")


@pytest.mark.parametrize(
    "content",
    [b"R", b"RIFF", b"RIFF\0\0\0\0WAVE", b"hello " * 20, b"OggS" + bytes(80), b"fLaC" + bytes(60), bytes(1000)],
)
def test_not_audio(content: bytes) -> None:
    with pytest.raises(
        Undecodable, match=r"^no audio (that libsndfile can decode|that is known|by its first bytes)"
    ) as caught:
        probe(content)
    assert "Error opening" not in str(caught.value)


def test_the_walk_over_chunks_is_bounded() -> None:
    few = riff((b"fmt ", FMT_PCM16), *[(b"junk", b"")] * 900, (b"data", PCM))
    many = riff((b"fmt ", FMT_PCM16), *[(b"junk", b"")] * 2000, (b"data", PCM))
    assert probe(few).data_offset == 44 + 900 * 8
    assert probe(many) == probe(few)._replace(data_offset=None)


def test_the_name_is_an_attribute_and_not_in_the_text(tmp_path: Path) -> None:
    broken = tmp_path / "anna-nowak.wav"
    broken.write_bytes(b"not audio at all, but long enough to look at" * 3)
    pipe = tmp_path / "anna-pipe.wav"
    os.mkfifo(pipe)
    empty = tmp_path / "anna-empty.wav"
    empty.touch()
    for path, reason in (
        (broken, "no audio"),
        (pipe, "not a regular file"),
        (tmp_path, "not a regular file"),
        (tmp_path / "anna-missing.wav", "cannot be opened: No such file"),
        (empty, "the file is empty"),
    ):
        with pytest.raises(Undecodable, match=reason) as caught:
            probe(path)
        assert "anna" not in str(caught.value)
        assert tmp_path.name not in str(caught.value)
        # A traceback would print the foreign error, name and all.
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_descriptors_are_closed(tmp_path: Path) -> None:
    good, bad = tmp_path / "a.wav", tmp_path / "b.wav"
    good.write_bytes(encoded("WAV", "PCM_16"))
    bad.write_bytes(b"junk" * 30)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        probe(good)
        with pytest.raises(Undecodable):
            probe(bad)
    assert len(os.listdir("/proc/self/fd")) == before


WHOLE = {
    "wav": encoded("WAV", "PCM_16", 2000),
    "rf64": encoded("RF64", "PCM_24", 2000),
    **{suffix: encoded(kind, subtype, 4000) for suffix, kind, subtype in COMPRESSED},
}


def test_an_mp3_that_ends_in_its_header() -> None:
    for end in range(1, 100):
        with pytest.raises(Undecodable):
            probe(WHOLE["mp3"][:end])


@pytest.mark.parametrize("left", [4, 20, 30, 40, 64])
def test_an_mp3_whose_header_crosses_the_end_of_the_search(left: int) -> None:
    """What the header counts is read whole, wherever the bytes that are searched for it end."""
    content = b"ID3\x04\0\0\0\0\0\0" + bytes(mp3._SYNC_WITHIN - left) + WHOLE["mp3"]
    found = mp3.find(lambda at, length: content[at : at + length], len(content))
    plain = mp3.find(lambda at, length: WHOLE["mp3"][at : at + length], len(WHOLE["mp3"]))
    assert found is not None
    assert plain is not None
    assert plain.counted
    assert (found.counted, found.start) == (plain.counted, plain.start + len(content) - len(WHOLE["mp3"]))


@given(data=st.data())
def test_damage_is_never_a_foreign_exception(data: st.DataObject) -> None:
    content = bytearray(WHOLE[data.draw(st.sampled_from(sorted(WHOLE)))])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, min(len(content) - 1, 300)))
        content[position] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    try:
        info = probe(content)
    except Undecodable:
        return
    assert info.frames > 0
    if info.data_offset is not None:
        assert_crops_are_right(bytes(content), info)


def decoded(content: bytes) -> int:
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        return len(file.read(out=np.empty((file.frames, file.channels), np.float32)))
