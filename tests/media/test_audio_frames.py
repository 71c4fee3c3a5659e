"""How many frames a recording has: headers that say nothing or something wrong, and MP3s that are counted."""

import io
import time

import numpy as np
import pytest
import soundfile

from securedata.media.audio import mp3
from securedata.media.audio.decode import decode
from securedata.media.audio.probe import probe, probe_ranges
from securedata.media.reason import Undecodable
from tests.kit.sources.recordings import Recording
from tests.media.test_audio_probe import FMT_PCM16, PCM, RATE, decoded, encoded, riff, tone


@pytest.mark.parametrize(
    "length",
    [
        *(0, 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF - 36, 0xFFFFFFFF - 44, 0xFFFF0000),
        *(0x7FFFFFFF, 0x7FFFFF00, 0x7FFFF000, 0x7FFF0000, 0x80000000, 0x7FFFFFFF - 36),
    ],
)
def test_placeholders_of_writers_that_cannot_seek_back(length: int) -> None:
    content = riff((b"fmt ", FMT_PCM16), (b"data", (length, PCM)))
    info = probe(content)
    assert (info.frames, info.data_offset) == (1000, 44)
    row = Recording(len(content), info.subtype, RATE, 1, 1000, 44)
    assert np.array_equal(decode(row, memoryview(content), True, 0, 1000)[:, 0] * 2**15, np.frombuffer(PCM, "<i2"))


def test_an_empty_recording_with_texts_behind_it_stays_empty() -> None:
    with pytest.raises(Undecodable, match="no frames"):
        probe(riff((b"fmt ", FMT_PCM16), (b"data", b""), (b"LIST", b"INFOISFT\4\0\0\0abcd"), (b"id3 ", b"abc")))


@pytest.mark.parametrize("length", [2001, 1 << 30, 0x7FFE0000, 0x80010000, 0xFFFE0000])
def test_other_lengths_beyond_the_end_are_no_placeholders(length: int) -> None:
    with pytest.raises(Undecodable, match="cut off"):
        probe(riff((b"fmt ", FMT_PCM16), (b"data", (length, PCM))))


ID3 = b"ID3\3\0\0\0\0\x0f\x5b" + b"\0" * 2011
TAGS = {"none": (b"", b""), "id3v2": (ID3, b""), "two": (ID3 + ID3, b""), "id3v1": (b"", b"TAG" + bytes(125))}
TAGS |= {"ape": (ID3, b"APETAGEX" + bytes(3_000)), "zeros": (b"", bytes(3_000))}


def whole_mp3(rate: int = RATE, seconds: float = 4, channels: int = 1, **options: object) -> bytes:
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", rate, channels, format="MP3", **options) as file:
        file.write(np.repeat(tone(int(rate * seconds)), channels, 1))
    return out.getvalue()


def bare_mp3(rate: int = RATE, seconds: float = 4, channels: int = 1, **options: object) -> bytes:
    """Without the frame that the encoder puts before, which says how many there are."""
    content = whole_mp3(rate, seconds, channels, **options)
    found = mp3.find(lambda at, n: content[at : at + n], len(content))
    assert found is not None
    return content[found.start :]


@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize("level", [0.99, 0.5])
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_an_mp3_without_a_header_is_counted(rate: int, level: float, tags: str) -> None:
    before, after = TAGS[tags]
    content = before + bare_mp3(rate, bitrate_mode="CONSTANT", compression_level=level) + after
    for cut in (0, 37) if not after else (0,):  # in its last frame
        one = content[: len(content) - len(after) - cut]
        info = probe(one + after)
        assert info.frames == decoded(one) > 3.5 * rate
        row = Recording(len(one + after), info.subtype, rate, 1, info.frames, None)
        whole = decode(row, memoryview(one + after), True, 0, info.frames)
        last = decode(row, memoryview(one + after), True, info.frames - 100, 100)
        assert np.abs(whole[-100:] - last).max() < 1.2e-7
    many = probe_ranges(lambda at, n: content[at : at + n], len(content))
    assert many == probe(content)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_an_mp3_of_which_libsndfile_reads_a_part_is_refused(rate: int) -> None:
    content = bare_mp3(rate, bitrate_mode="VARIABLE", compression_level=0.5)
    quiet, loud = np.zeros((rate * 4, 1)), 0.5 * np.random.default_rng(0).standard_normal((rate * 4, 1))
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", rate, 1, format="MP3", bitrate_mode="VARIABLE") as file:
        file.write(np.concatenate([loud, quiet]))
    whole = out.getvalue()
    found = mp3.find(lambda at, n: whole[at : at + n], len(whole))
    assert found is not None
    for bare in (content, whole[found.start :]):
        try:
            frames = probe(bare).frames
        except Undecodable as reason:
            assert "ffmpeg" in str(reason)  # noqa: PT017 - either is right, by what libsndfile guesses
        else:
            assert frames == decoded(bare)


def test_joined_mp3s_are_refused() -> None:
    one = encoded("MP3", "MPEG_LAYER_III", 4 * RATE)
    with pytest.raises(Undecodable, match=r"reads 4.0 s of it, but there are 8"):
        probe(one + one)
    assert probe(ID3 + one).frames == 4 * RATE
    assert probe(one + b"TAG" + bytes(125)).frames == 4 * RATE


GAPS = {
    "an ID3 tag": ID3,
    "zeros": bytes(3000),
    "noise": np.random.default_rng(4).bytes(700),
    "a cover image": b"\xff\xd8" + np.random.default_rng(5).bytes(50_000),
}


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("headed", [True, False])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_what_is_between_the_frames_of_an_mp3_cuts_nothing_off(rate: int, headed: bool, gap: str) -> None:
    content = bare_mp3(rate, bitrate_mode="CONSTANT", compression_level=0.8)
    if headed:
        content = whole_mp3(rate, bitrate_mode="CONSTANT", compression_level=0.8)
    lengths = np.cumsum([len(frame) for frame in frames_of(content)])
    half = int(lengths[len(lengths) // 2])
    broken = content[:half] + GAPS[gap] + content[half:]
    try:
        frames = probe(broken).frames
    except Undecodable:
        return  # nothing is sealed
    assert frames > 3.7 * rate
    assert len(read_whole(broken)) == frames


@pytest.mark.parametrize("by", [-60, 1, 40, 10**6, 2**31])
def test_an_mp3_whose_header_counts_wrong(by: int) -> None:
    right = encoded("MP3", "MPEG_LAYER_III", 5 * RATE)
    at = right.find(b"Xing") + 8
    wrong = right[:at] + (int.from_bytes(right[at : at + 4], "big") + by).to_bytes(4, "big") + right[at + 4 :]
    if by < 0:
        with pytest.raises(Undecodable, match="but there are"):
            probe(wrong)
        return
    info = probe(wrong)
    assert abs(5 * RATE - info.frames) <= 4 * 576  # what the encoder filled up with is not cut off
    assert len(read_whole(wrong)) == info.frames


def test_an_mp3_that_lacks_frames_in_the_middle() -> None:
    frames = frames_of(encoded("MP3", "MPEG_LAYER_III", 20 * RATE))
    lacking = b"".join(frames[:100] + frames[101:])
    assert len(read_whole(lacking)) == probe(lacking).frames < 20 * RATE


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_an_mp3_of_a_free_bit_rate(rate: int) -> None:
    """Its frames do not say how long they are, so it is decoded; what looks like a frame in its data is none."""
    frames = frames_of(bare_mp3(rate, bitrate_mode="CONSTANT", compression_level=0.9))
    content = ID3 + b"".join(bytes([*frame[:2], frame[2] & 0x0F, *frame[3:]]) for frame in frames)
    content += bytes(3) + frames[0][:4]  # longer than what is left
    try:
        count = probe(content).frames
    except Undecodable:
        return  # nothing is sealed
    assert count > 3.7 * rate
    assert len(read_whole(content)) == count


def frames_of(content: bytes) -> list[bytes]:
    found, at = [], 0
    while at + 4 <= len(content):
        length = mp3._LENGTHS[content[at + 1] << 8 | content[at + 2]]
        found.append(content[at : at + length])
        at += length
    return found


def read_whole(content: bytes) -> np.ndarray:
    """All frames that the probe counts, as training reads them."""
    info = probe(content)
    row = Recording(len(content), info.subtype, info.sample_rate, info.channels, info.frames, None)
    return decode(row, memoryview(content), True, 0, info.frames)


@pytest.mark.parametrize("frames", [1, 2_500, 8_000])
@pytest.mark.parametrize(("format", "subtype"), [("PAF", "PCM_24"), ("SDS", "PCM_16"), ("AIFF", "DWVW_16")])
def test_formats_whose_header_libsndfile_misreads(format: str, subtype: str, frames: int) -> None:
    content = encoded(format, subtype, frames)
    try:
        info = probe(content)
    except Undecodable:
        assert frames == 1 or format == "AIFF"  # nothing that libsndfile reads: nothing is sealed
        return
    row = Recording(len(content), info.subtype, info.sample_rate, 1, info.frames, None)
    whole = decode(row, memoryview(content), True, 0, info.frames)
    for start in (0, 1, 999, info.frames // 2, info.frames - 1):
        for length in (1, 500):
            end = min(start + length, info.frames)
            crop = decode(row, memoryview(content), True, start, end - start)
            assert np.array_equal(crop, whole[start:end])


@pytest.mark.quiet
def test_counting_takes_less_than_a_millisecond() -> None:
    content = bare_mp3(48_000, 10, bitrate_mode="CONSTANT", compression_level=0.9)
    found = mp3.find(lambda at, n: content[at : at + n], len(content))
    assert found is not None
    best = 1.0
    for _ in range(20):
        begun = time.thread_time()
        assert mp3.count(found, lambda at, n: content[at : at + n])[1]
        best = min(best, time.thread_time() - begun)
    assert best < 1e-3


@pytest.mark.parametrize("block", [1_000, 1_048_576])
def test_counting_over_the_borders_of_pieces(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp3, "_PIECE", max(block, 2 * mp3.MAX_FRAME))
    content = bare_mp3(44_100, 5, bitrate_mode="CONSTANT", compression_level=0.2)
    assert probe(content).frames == decoded(content)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_ogg_is_refused(subtype: str) -> None:
    one, two = encoded("OGG", subtype, 2 * RATE), encoded("OGG", subtype, 3 * RATE)
    assert probe(one).frames == decoded(one) == 2 * RATE
    assert one[14:18] != two[14:18]
    with pytest.raises(Undecodable, match="chained Ogg"):
        probe(one + two)
