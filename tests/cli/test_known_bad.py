"""`encrypt --known-bad` and `--write-bad`: a file that can never be taken is news once."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from securedata.errors import InvalidArgument
from securedata.ingest import known_bad
from tests.kit.cli.commandline import PATTERN, Ran, Run
from tests.kit.sources.recordings import encode, noise, write_clips


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    wavs = write_clips(tmp_path / "wavs")
    (wavs / "ann" / "broken.wav").write_bytes(b"no audio")
    return wavs


def encrypt(run: Run, wavs: Path, *more: str) -> Ran:
    return run("encrypt", wavs, wavs.parent / "sealed", *PATTERN, *more)


def test_what_is_known_is_no_news(run: Run, wavs: Path) -> None:
    bad = wavs.parent / "bad.jsonl"
    first = encrypt(run, wavs, "--write-bad", str(bad))
    assert first.code == 1
    assert stat.S_IMODE(bad.stat().st_mode) == 0o600
    for more in ((), ("--dry-run",), ("-q",), ("--json",)):
        again = encrypt(run, wavs, "--known-bad", str(bad), *more)
        assert again.code == 0, again.err
    assert (again.json["complete"], again.json["new"]) == (False, [])
    assert [one["path"] for one in again.json["problems"]] == ["ann/broken.wav"], "and still named"
    assert "1 recording not taken as before" in encrypt(run, wavs, "--known-bad", str(bad)).err
    assert encrypt(run, wavs).code == 1


def test_news_of_every_kind(run: Run, wavs: Path) -> None:
    bad = wavs.parent / "bad.jsonl"
    encrypt(run, wavs, "--write-bad", str(bad))
    (wavs / "bob" / "cut.wav").write_bytes(encode(noise(0.5), 16_000)[:-50])
    (wavs / "ann" / "utt0.wav").write_bytes(encode(noise(0.5), 16_000))  # a conflict
    done = encrypt(run, wavs, "--known-bad", str(bad), "--json")
    assert (done.code, [one["path"] for one in done.json["new"]]) == (1, ["bob/cut.wav", "ann/utt0.wav"])
    assert "2 recordings of" in done.error
    encrypt(run, wavs, "--known-bad", str(bad), "--write-bad", str(bad))
    assert encrypt(run, wavs, "--known-bad", str(bad)).code == 0
    (wavs / "ann" / "broken.wav").write_bytes(b"")  # the same file, for another reason
    done = encrypt(run, wavs, "--known-bad", str(bad), "--json")
    assert (done.code, [one["path"] for one in done.json["new"]]) == (1, ["ann/broken.wav"])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_manifest_that_grew_gives_other_lines(run: Run, wavs: Path, kind: str) -> None:
    manifest, bad = wavs.parent / f"m.{kind}", wavs.parent / "bad.jsonl"

    def write(*lines: str) -> None:
        manifest.write_text("\n".join(lines))
        if kind == "parquet":
            names, *fields = (line.split(",") for line in lines)
            pq.write_table(pa.table(dict(zip(names, zip(*fields, strict=True), strict=True))), manifest)

    options = ("--manifest", str(manifest), "--only-listed")
    rows = ["path,text,duration", "ann/utt0.wav,hello,0.5", "ann/gone.wav,x,1", "bob/utt0.wav,x,long"]
    write(*rows)
    assert encrypt(run, wavs, *options, "--write-bad", str(bad)).code == 1
    write(*rows[:2], "ann/utt1.flac,more,0.7", *rows[2:])
    assert encrypt(run, wavs, *options, "--known-bad", str(bad)).code == 0


@pytest.mark.parametrize("content", [None, b"no JSON\n", b"[1]\n", b'{"path": "x"}\n', b"\xff\n"])
def test_a_file_that_is_none_stops_before_anything(run: Run, wavs: Path, content: bytes | None) -> None:
    bad = wavs.parent / "bad.jsonl"
    if content is not None:
        bad.write_bytes(content)
    done = encrypt(run, wavs, "--known-bad", str(bad))
    assert done.code == 2
    assert "--write-bad" in done.err
    assert not (wavs.parent / "sealed").exists()


def test_what_cannot_be_written(run: Run, wavs: Path) -> None:
    done = encrypt(run, wavs, "--write-bad", str(wavs.parent / "none" / "bad.jsonl"))
    assert (done.code, "cannot be written" in done.err) == (2, True)
    assert not (wavs.parent / "sealed").exists(), "which is seen before any work"
    assert encrypt(run, wavs, "--write-bad", str(wavs)).code == 2
    assert encrypt(run, wavs, "--dry-run", "--write-bad", str(wavs.parent / "bad.jsonl")).code == 2


def test_what_is_no_file_is_not_replaced_by_one(run: Run, wavs: Path) -> None:
    """Of /dev/null and /dev/stdout, as root, it would be the end for the whole machine."""
    (wavs.parent / "victim").write_text("precious")
    for name in ("pipe", "link", "nowhere"):
        path = wavs.parent / name
        if name == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(wavs.parent / ("victim" if name == "link" else "made"))
        before = path.lstat()
        done = encrypt(run, wavs, "--write-bad", str(path))
        assert (done.code, "it is a link, device or pipe" in done.err) == (2, True)
        assert os.path.samestat(path.lstat(), before)
        with pytest.raises(InvalidArgument, match="a link, device or pipe"):
            known_bad.write_bad(str(path), [])
        assert os.path.samestat(path.lstat(), before)
    assert (wavs.parent / "victim").read_text() == "precious"
    assert not (wavs.parent / "made").exists()
    assert not (wavs.parent / "sealed").exists(), "which is seen before any work"
    assert [path.name for path in wavs.parent.iterdir() if path.name.startswith(".")] == [], "and no temporary stays"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["huge", "/dev/zero"])
def test_what_is_known_is_read_in_bounds(run: Run, wavs: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_bad, "_LARGEST", 100_000)
    with (wavs.parent / "huge").open("wb") as file:
        file.truncate(1 << 40)
    done = encrypt(run, wavs, "--known-bad", str(wavs.parent / name))
    assert (done.code, "cannot be read (it has more than" in done.err) == (2, True)


def test_another_file_is_news_although_the_reason_is_the_same(run: Run, wavs: Path) -> None:
    bad = wavs.parent / "bad.jsonl"
    (wavs / "ann" / "samples.raw").write_bytes(bytes(range(256)))
    assert encrypt(run, wavs).code == 1
    (wavs / "ann" / "utt0.wav").write_bytes(encode(noise(0.5), 16_000))  # a conflict
    encrypt(run, wavs, "--write-bad", str(bad))
    assert encrypt(run, wavs, "--known-bad", str(bad)).code == 0
    for name, data in (
        ("utt0.wav", encode(noise(0.6), 16_000)),
        ("samples.raw", bytes(range(255, -1, -1))),
        ("broken.wav", b"no sounds"),
    ):
        path = wavs / "ann" / name
        path.write_bytes(data)
        later = path.stat().st_mtime_ns + 10**9
        os.utime(path, ns=(later, later))
        for more in (("--dry-run",), ()):
            done = encrypt(run, wavs, "--known-bad", str(bad), "--json", *more)
            assert (done.code, [one["path"] for one in done.json["new"]]) == (1, [f"ann/{name}"])
        encrypt(run, wavs, "--write-bad", str(bad))
    one = json.loads(bad.read_text().splitlines()[0])
    bad.write_text("".join(json.dumps({**json.loads(x), "stamp": ""}) + "\n" for x in bad.read_text().splitlines()))
    assert one["stamp"]
    assert encrypt(run, wavs, "--known-bad", str(bad)).code == 0, "a line without it means any file of that path"


def test_where_nothing_else_is(run: Run, wavs: Path) -> None:
    """A drop box that holds what nobody can take, and is empty otherwise."""
    bad = wavs.parent / "bad.jsonl"
    assert encrypt(run, wavs, "--write-bad", str(bad)).code == 1
    box = wavs.parent / "box"
    (box / "ann").mkdir(parents=True)
    (box / "ann" / "samples.raw").write_bytes(bytes(range(256)))
    for root in ("sealed", "new"):
        for more in (("--dry-run",), ("--write-bad", str(bad))):
            done = run("encrypt", box, wavs.parent / root, *PATTERN, "--json", *more)
            assert done.code == 1, done.err
            assert done.json["sources"] == {**dict.fromkeys(done.json["sources"], 0), "files": 1, "not_taken": 1}
            assert [one["path"] for one in done.json["problems"]] == ["ann/samples.raw"]
    assert not (wavs.parent / "new").exists()
    assert run("encrypt", box, wavs.parent / "sealed", *PATTERN, "--known-bad", bad).code == 0


def test_a_list_that_loses_other_lines_is_news(run: Run, tmp_path: Path) -> None:
    src, bad = tmp_path / "src", str(tmp_path / "bad.jsonl")
    for name in ("0a7c2a8d", "1a2b3c4d"):
        path = src / "yes" / f"{name}_nohash_0.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(noise(0.1), 16_000))
    (src / "testing_list.txt").write_text("")
    lines = ["# of 2018", "yes/gone_nohash_0.wav"]

    def again(*more: str) -> Ran:
        (src / "validation_list.txt").write_text("\n".join(lines))
        return run("encrypt", src, tmp_path / "sealed", *more)

    assert again("--write-bad", bad).code == 1
    lines.insert(1, "yes/0a7c2a8d_nohash_0.wav")
    assert again("--known-bad", bad).code == 0, "the same lines are lost"
    lines[2] = "yes/1a2b3c4d_nohash_0.wave"
    done = again("--known-bad", bad)
    assert (done.code, "2 lines name no recording" in done.err) == (1, True)


@pytest.mark.parametrize("content", [b"no audio", b""])
@pytest.mark.parametrize("more", [(), ("--checksum",), ("--replace",), ("--reseal",)], ids="/".join)
def test_a_rehearsal_has_the_reasons_of_the_run(run: Run, wavs: Path, content: bytes, more: tuple[str, ...]) -> None:
    bad = str(wavs.parent / "bad.jsonl")
    encrypt(run, wavs)
    (wavs / "ann" / "utt0.wav").write_bytes(content)  # of another size: the run need not open it to see a conflict
    size = (wavs / "bob" / "utt0.wav").stat().st_size
    (wavs / "bob" / "utt0.wav").write_bytes(b"x" * size)  # of the same size: it is hashed
    assert encrypt(run, wavs, "--write-bad", bad, *more).code == 1
    done = encrypt(run, wavs, "--known-bad", bad, "--dry-run", "--json", *more)
    assert (done.code, done.json["new"]) == (0, [])
    run_again = encrypt(run, wavs, "--json", *more).json
    assert done.json["sources"] == run_again["sources"]
    for name in ("conflicts", "problems"):
        assert sorted(map(str, done.json[name])) == sorted(map(str, run_again[name])), name
