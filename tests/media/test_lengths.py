"""What libsndfile would read a part of, or more than there is: seen when it is sealed."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

import av
import numpy as np
import pytest
import soundfile

from securedata.media.audio import ogg
from securedata.media.audio.decode import decode
from securedata.media.audio.probe import AudioInfo, probe, probe_ranges
from securedata.media.reason import Undecodable
from tests.kit.sources.ffmpeg import KINDS, make
from tests.kit.sources.recordings import Floats, noise, recording_of

ID3 = b"ID3\3\0\0\0\0\0\x0a" + bytes(10)
APE = b"\x20\0\0\0".join((b"APETAGEX\xd0\x07\0\0", b"\0\0\0\0\0\0\0\x80" + bytes(8)))


def part(data: bytes, start: int = 0, frames: int | None = None) -> Floats:
    """As training reads a recording, or a part of it."""
    info = probe(data)
    return decode(recording_of(data, info), memoryview(data), True, start, info.frames if frames is None else frames)


def check_parts(data: bytes, tolerance: float = 0.0) -> Floats:
    """Parts, the last frames among them, are those of the whole, which is returned."""
    whole = part(data)
    for start in (0, 1, len(whole) // 3, len(whole) // 2 + 7, len(whole) - 500, len(whole) - 1):
        found = part(data, start, min(500, len(whole) - start))
        assert np.abs(found - whole[start : start + len(found)]).max() <= tolerance, start
    return whole


def looks(data: bytes) -> list[Callable[[], AudioInfo]]:
    """The probe of bytes, and of a file that is elsewhere."""
    return [lambda: probe(data), lambda: probe_ranges(lambda at, n: data[at : at + n], len(data))]


def not_taken(data: bytes) -> str:
    with pytest.raises(Undecodable) as caught:
        probe(data)
    return str(caught.value)


def written(format: str, subtype: str, frames: int = 20_011, channels: int = 1, endian: str | None = None) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, noise(frames / 8000, 8000, channels)[:frames], 8000, subtype, endian, format)
    return out.getvalue()


def encoded(container: str, codec: str, seconds: float, bits: int = 64_000, **options: str) -> bytes:
    """By FFmpeg, mono at 24 kHz, without a tag in front."""
    out = io.BytesIO()
    if container == "mp3":
        options["id3v2_version"] = "0"
    with av.open(out, "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=24_000)
        assert isinstance(stream, av.AudioStream)
        stream.layout, stream.bit_rate = "mono", bits
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(noise(seconds, 24_000, 1).T, np.float32), "fltp", "mono"
        )
        frame.sample_rate, frame.pts = 24_000, 0
        file.mux([*stream.encode(frame), *stream.encode(None)])
    return out.getvalue()


def by_ffmpeg(content: bytes) -> int:
    """The frames that FFmpeg decodes, until it takes offence."""
    frames = 0
    with av.open(io.BytesIO(content), "r") as file:
        try:
            for frame in file.decode(audio=0):
                frames += frame.samples
        except av.error.InvalidDataError:  # less than the head of a block
            pass
    return frames


COUNTED = [
    *(("AIFF", subtype) for subtype in ("PCM_16", "PCM_24", "ULAW", "IMA_ADPCM", "GSM610")),
    *(("AU", subtype) for subtype in ("PCM_16", "FLOAT", "ULAW")),
    *(("NIST", subtype) for subtype in ("PCM_16", "ULAW")),
    *(("W64", subtype) for subtype in ("PCM_16", "DOUBLE", "MS_ADPCM")),
    *(("VOC", subtype) for subtype in ("PCM_16", "ULAW")),
    *(("CAF", "PCM_16"), ("SVX", "PCM_16"), ("SVX", "PCM_S8"), ("RIFX", "PCM_16"), ("AU-LITTLE", "PCM_16")),
]


def counted(name: str, subtype: str, frames: int) -> bytes:
    if name == "RIFX":
        return written("WAV", subtype, frames, endian="BIG")
    return written("AU", subtype, frames, endian="LITTLE") if name == "AU-LITTLE" else written(name, subtype, frames)


@pytest.mark.parametrize(("name", "subtype"), COUNTED)
def test_a_file_shorter_than_it_says_is_refused(name: str, subtype: str) -> None:
    content = counted(name, subtype, 20_010)
    assert probe(content).frames >= 20_010
    for missing in (2, 100, len(content) // 2):
        short = content[:-missing]
        for look in looks(short):
            with pytest.raises(Undecodable, match=r"cut off|malformed"):
                look()


@pytest.mark.parametrize(("name", "length"), [("AU", 0xFFFFFFFF), ("AIFF", 0xFFFFFFFF), ("AIFF", 0)])
def test_a_length_that_a_pipe_left_open_is_none(name: str, length: int) -> None:
    content = written(name, "PCM_16")
    at = 8 if name == "AU" else content.index(b"SSND") + 4
    assert probe(content[:at] + length.to_bytes(4, "big") + content[at + 4 :]).frames == 20_011


def test_what_is_behind_the_samples_of_an_au() -> None:
    content = written("AU", "PCM_16")
    less = content[:8] + (8000).to_bytes(4, "big") + content[12:]
    with pytest.raises(Undecodable, match=r"bytes after the samples .*ffmpeg -i IN"):
        probe(less)
    assert probe(content + bytes(9000)).frames == probe(content + b"TAG" + bytes(125)).frames == 20_011


W64_LIST = bytes.fromhex("6c6973742f91cf11a5d628db04c10000") + (424).to_bytes(8, "little") + b"x" * 400


@pytest.mark.parametrize(
    ("name", "subtype", "behind"),
    [
        *(("W64", subtype, W64_LIST) for subtype in ("PCM_16", "PCM_24", "FLOAT", "ULAW", "MS_ADPCM")),
        *(("SVX", subtype, b"ANNO\0\0\1\0" + b"x" * 256) for subtype in ("PCM_16", "PCM_S8")),
        *(("VOC", subtype, bytes(300)) for subtype in ("PCM_16", "ALAW")),
    ],
)
def test_what_is_behind_the_samples_is_none_of_them(name: str, subtype: str, behind: bytes) -> None:
    """libsndfile reads it as samples."""
    content = written(name, subtype, 20_000)
    whole = check_parts(content)
    assert np.array_equal(check_parts(content + bytes(-len(content) % 8 if name == "W64" else 0) + behind), whole)


def test_more_samples_than_a_w64_counts_are_read() -> None:
    content = written("W64", "PCM_16")
    at = content.index(b"data\xf3\xac") + 16
    assert probe(content[:at] + (24 + 8000).to_bytes(8, "little") + content[at + 8 :]).frames == 20_011


def test_a_nist_that_counts_its_channels_too() -> None:
    content = written("NIST", "PCM_16", 20_000, 2)
    assert probe(content.replace(b"sample_count -i 20000", b"sample_count -i 40000")).frames == 20_000


def wav_of(frames: bytes, behind: bytes = b"") -> bytes:
    """A WAV around the frames of an MP3."""
    form = b"\x55\0\1\0" + (24_000).to_bytes(4, "little") + (8000).to_bytes(4, "little")
    form += b"\1\0\0\0\x0c\0\1\0\2\0\0\0\xc0\0\1\0\0\0"
    body = b"WAVEfmt " + len(form).to_bytes(4, "little") + form + b"data" + len(frames).to_bytes(4, "little") + frames
    body += b"\0" * (len(frames) % 2) + behind
    return b"RIFF" + len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize("behind", [b"", b"LIST\x10\0\0\0INFOISFT\4\0\0\0abc\0"], ids=["", "LIST"])
@pytest.mark.parametrize("xing", ["0", "1"])
def test_mp3_in_a_wav_is_counted(xing: str, behind: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    content = wav_of(encoded("mp3", "libmp3lame", 3, write_xing=xing), behind)
    info = probe(content)
    assert (info.format, info.subtype) == ("WAV", "MPEG_LAYER_III")
    assert 72_000 <= info.frames <= 72_000 + 3 * 1152
    assert len(check_parts(content, 1e-6)) == info.frames
    with pytest.raises(Undecodable, match="cut off"):
        probe(content[: len(content) // 2])
    assert not capfd.readouterr().err


def test_layer_ii_whose_bit_rate_falls_is_refused() -> None:
    """Its length is a guess by the first frames."""
    high, low = (encoded("mp2", "mp2", seconds, bits=bits) for seconds, bits in ((2, 160_000), (6, 32_000)))
    with pytest.raises(Undecodable, match=r"libsndfile reads .* of it.*OUT\.flac"):
        probe(high + low)
    for content in (low + high, low, ID3 + low, low + b"TAG" + bytes(125)):
        frames = probe(content).frames
        assert frames == by_ffmpeg(content)
        assert len(check_parts(content, 1e-6)) == frames


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_joined_under_one_number_is_refused(subtype: str) -> None:
    """Encoders that number all their streams alike: libsndfile reads the first, or none."""
    content = written("OGG", subtype, 40_000)
    with pytest.raises(Undecodable, match="chained Ogg"):
        probe(content + content)


@pytest.mark.parametrize("subtypes", [("VORBIS", "OPUS"), ("OPUS", "VORBIS"), ("OPUS", "OPUS")])
def test_ogg_tracks_side_by_side_are_not_reduced_to_one(subtypes: tuple[str, str]) -> None:
    out = io.BytesIO()
    sources = [av.open(io.BytesIO(written("OGG", subtype, 32_000)), "r") for subtype in subtypes]
    with av.open(out, "w", format="ogg") as both:
        streams = [both.add_stream_from_template(source.streams.audio[0]) for source in sources]
        for source, stream in zip(sources, streams, strict=True):
            for packet in source.demux(audio=0):
                if packet.dts is not None:
                    packet.stream = stream
                    both.mux(packet)
    assert not_taken(out.getvalue()).startswith("2 audio tracks: extract one: ffmpeg")


def pages(content: bytes) -> list[int]:
    """Where they begin."""
    found, at = [], 0
    while at < len(content):
        found.append(at)
        at += 27 + content[at + 26] + sum(content[at + 27 : at + 27 + content[at + 26]])
    return found


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_that_lacks_a_page_is_refused(subtype: str) -> None:
    content = written("OGG", subtype, 160_000)
    begins = pages(content)
    assert probe(content).frames == probe(content + bytes(700)).frames == len(part(content)) == 160_000
    assert len(begins) > 6
    one, two = begins[4], begins[5]
    damaged = {
        "lacks a page": content[:one] + content[two:],
        "lacks a piece": content[: one + 200] + content[one + 300 :],
        "other bit": content[: one + 200] + bytes([content[one + 200] ^ 4]) + content[one + 201 :],
        "zeros": content[: one + 20] + bytes(300) + content[one + 320 :],
        "twice": content[:two] + content[one:],
    }
    for bad in damaged.values():
        for look in looks(bad):
            with pytest.raises(Undecodable, match="damaged: a page"):
                look()


@pytest.mark.parametrize("piece", [70_000, 1 << 20])
def test_pages_over_the_borders_of_pieces(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    content = written("OGG", "VORBIS", 400_000)
    monkeypatch.setattr(ogg, "_PIECE", piece)
    read = lambda at, n: content[at : at + n]  # noqa: E731 - a short name for three calls
    assert ogg.walk(read, len(content)) == (False, True, 1)
    assert ogg.walk(read, len(content) - 100) == (False, True, 1)
    one = pages(content)[-2]
    between = content[:one] + b"x" + content[one:]
    assert ogg.walk(lambda at, n: between[at : at + n], len(between)) == (False, False, 1)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_the_last_block_of_a_wav_may_be_cut_off(subtype: str, channels: int) -> None:
    """libsndfile fills it up with samples of the block before, in a crop with others, or leaves it out."""
    channels = 1 if subtype == "GSM610" else channels
    content = written("WAV", subtype, 12_000, channels)
    whole = check_parts(content)
    at = content.index(b"data") + 4
    for length in (0xFFFFFFFF, 0x7FFFF000):
        open_ended = content[:at] + length.to_bytes(4, "little") + content[at + 4 :]
        assert np.array_equal(check_parts(open_ended), whole)
    taken = 0
    for missing in (1, 3, 40, 100, 257, 511, 700):
        length = int.from_bytes(content[at : at + 4], "little") - missing
        short = content[:at] + length.to_bytes(4, "little") + content[at + 4 : at + 4 + length]
        if subtype == "MS_ADPCM" and missing not in {1: (1, 257, 511), 2: (1, 511)}[channels]:
            with pytest.raises(Undecodable, match="its last block is cut off"):
                probe(short)
            continue
        found = check_parts(short)
        taken += 1
        assert np.array_equal(found, whole[: len(found)])
        if subtype == "IMA_ADPCM":
            assert len(found) == by_ffmpeg(short)
    assert taken


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610", "PCM_16"])
@pytest.mark.parametrize("length", [0, 1])
def test_a_wav_whose_header_counts_no_frame_gets_its_way(subtype: str, length: int) -> None:
    content = written("WAV", subtype, 80_000)
    at = content.index(b"data") + 4
    killed = content[:at] + length.to_bytes(4, "little") + content[at + 4 :]
    if (subtype, length) == ("PCM_16", 0):
        assert probe(killed).frames == 80_000
    else:
        assert "bytes follow (its writer was killed?): ffmpeg -ignore_length 1" in not_taken(killed)
    assert not_taken(killed[: at + 4 + 8 * length]).endswith("no frames")


def test_what_was_cut_off_gets_its_way() -> None:
    for name, subtype in (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("AIFF", "PCM_16"), ("WAV", "IMA_ADPCM")):
        assert not_taken(written(name, subtype)[:-1000]).endswith("OUT.flac")


@pytest.mark.parametrize("tag", [APE, b"TAG" + bytes(125), os.urandom(500)], ids=["ape", "id3v1", "noise"])
def test_a_tag_behind_lossless_recordings(tag: bytes) -> None:
    for kind in KINDS:
        if kind.codec in ("wavpack", "tta"):
            content = make(kind)
            assert probe(content + tag).frames == probe(content).frames == kind.rate
            assert np.array_equal(check_parts(content + tag), part(content))
            with pytest.raises(Undecodable):
                probe(content[: len(content) // 2] + tag)


@pytest.mark.parametrize("format", ["WAV", "AIFF", "AU", "W64", "RF64", "OGG"])
def test_what_is_behind_an_id3_tag_and_no_mp3(format: str) -> None:
    """libsndfile reads less of it from bytes than by name."""
    for size in (0, 200):
        tag = ID3[:8] + bytes([size >> 7, size & 127]) + bytes(size)
        content = written(format, "VORBIS" if format == "OGG" else "PCM_16")
        for look in looks(tag + content):
            with pytest.raises(Undecodable, match=rf"an ID3 tag before {format}, .*: tail -c \+{len(tag) + 1} IN"):
                look()
        assert probe((tag + content)[len(tag) :]).frames == 20_011


def test_tta_behind_an_id3_tag() -> None:
    (tta,) = [make(kind) for kind in KINDS if kind.codec == "tta"]
    assert np.array_equal(part(ID3 + tta), part(tta))


def test_space_in_front_of_an_mp4() -> None:
    """Of one in fragments, whose offsets count from each."""
    content = encoded("mp4", "aac", 1, movflags="frag_keyframe+empty_moov+default_base_moof")
    for space in (b"\0\0\0\x08wide", b"\0\0\0\x10free" + bytes(8), b"\0\0\1\0skip" + bytes(248)):
        assert np.array_equal(part(space + content), part(content))
    for text in (b"The free text of this file.\n", b"See wide fields.\n"):
        assert not_taken(text) == "no audio by its first bytes: text"


def test_what_nobody_knows_gets_both_ways() -> None:
    """The second alone would make noise of a file that another program plays, such as LATM or MPEG-TS."""
    with pytest.raises(Undecodable, match=r"ffmpeg -i IN -map 0:a:0 .*; if it is samples .* ffmpeg -f s16le"):
        probe(encoded("latm", "aac", 1))
