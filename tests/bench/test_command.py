"""`securedata bench`: it measures what it says, its documents are whole, wrong options are refused. No speed."""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from securedata.bench import loading, throughput
from securedata.bench.pool import Pool
from securedata.bench.work import AES_GCM, MEMCPY, METHODS, SECUREDATA, Case, Work, memory_needed
from securedata.cli.main import main, parser
from securedata.errors import SecuredataError
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.docs.readme import blocks
from tests.kit.docs.tree import ROOT
from tests.kit.sources.recordings import clip

TINY = ("--seconds", "0.1", "--sizes", "4097,16KiB", "--ranges", "100", "--workers", "1,2")


def document(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["bench", *map(str, arguments), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return dict(json.loads(captured.out))  # the whole of stdout is one document


def check_estimate(found: dict[str, float]) -> None:
    assert found["rounds"] >= 6
    assert found["confidence"] >= 0.95
    assert 0 < found["low"] <= found["median"] <= found["high"] < math.inf


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said on stderr about wrong usage; nothing is measured."""
    try:
        code: object = main(["bench", *arguments])
    except SystemExit as error:  # argparse's own way out
        code = error.code
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    return captured.err


# ----------------------------------------------------------------------------------------------------- from memory


def test_json_has_every_case_with_every_number_of_workers(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, *TINY)
    assert found["benchmark"] == "memory"
    cases = [(4097, None), (16 * 1024, None), (16 << 20, 100)]
    assert [(one["workers"], one["object_bytes"], one["range_bytes"]) for one in found["results"]] == [
        (workers, *case) for workers in (1, 2) for case in cases
    ]
    for one in found["results"]:
        assert set(one["gb_per_s"]) == set(METHODS)
        assert set(one["share"]) == {AES_GCM, MEMCPY}
        for value in (one["objects_per_s"], *one["gb_per_s"].values(), *one["share"].values()):
            check_estimate(value)
            assert value["rounds"] == found["rounds"]
        # GB/s are of plaintext: of the range, not of the object that it is cut from
        size = one["range_bytes"] or one["object_bytes"]
        for end in ("low", "median", "high"):
            assert one["gb_per_s"][SECUREDATA][end] == pytest.approx(one["objects_per_s"][end] * size / 1e9)
    assert [one["workers"] for one in found["undisturbed"]] == [1, 2]
    assert all(0 < one["share"] <= 1 for one in found["undisturbed"])
    described = found["host"]
    assert described["cores"] >= described["usable_cores"] >= 1
    assert described["cpu"]
    assert described["openssl"].startswith("OpenSSL")
    assert described["packages"]["cryptography"].split(".")[0].isdecimal()
    assert {type(value) for value in described["flags"].values()} <= {bool}


def test_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *TINY]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""  # the bar is for terminals
    lines = captured.out.splitlines()
    assert [line.split("  ")[0] for line in lines].count(
        "4,097 B"
    ) == 5  # one worker, two workers, each with its limits; gain
    assert [line.split("  ")[0] for line in lines].count("100 B of 16 MiB") == 5
    assert max(map(len, lines[3:])) <= 80, "whatever the host's name"
    assert any(line.startswith("1 worker: one core") for line in lines)
    assert any(line.startswith("2 workers") for line in lines)
    assert "cryptography" in captured.out


def test_one_number_of_workers_needs_no_table_of_gains(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--seconds", "0.1", "--sizes", "1", "--ranges", "none", "--workers", "2"]) == 0
    out = capsys.readouterr().out
    assert "By number of workers" not in out
    assert "1 worker" not in out
    assert out.count("1 B ") == 2  # and its limits


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data[-8:-4] == b"IEND"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


@pytest.mark.parametrize(("workers", "panels"), [("1", 1), ("1,2", 2)])
def test_png(workers: str, panels: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bench.png"
    options = ("--seconds", "0.1", "--sizes", "100,4kB", "--ranges", "50", "--workers", workers)
    assert main(["bench", *options, "--png", str(path)]) == 0
    width, height = png_size(path)
    assert width == panels * 1080
    assert height == 810
    assert "securedata GB/s" in capsys.readouterr().out  # the tables come all the same


def test_work_is_done_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every method opens what it says: all its plaintext comes to stand in the buffer, or is returned."""
    case, cut = Case(40_000), Case(40_000, 20_000)
    work = Work([case, cut])
    for method in METHODS:
        work._out[:] = bytes(40_000)
        count = len(work._calls[case, method])
        assert work.run(case, method, 0.0, 0.0).calls == count  # one turn, however late it is
        assert work._out[:40_000] != bytes(40_000)
        assert bytes(work._out[39_990:]) != bytes(10)
    pieces = {bytes(call()) for call in work._calls[cut, SECUREDATA]}
    assert {len(piece) for piece in pieces} == {20_000}
    assert len(pieces) > 1  # at different places
    for call in work._calls[case, SECUREDATA]:
        assert call() == 40_000


def test_wrong_plaintext_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from securedata.bench import work

    def open_nothing(key: bytes, sealed: bytes, out: memoryview, expect: object) -> int:
        return 0

    monkeypatch.setattr(work, "open_into", open_nothing)
    with pytest.raises(SecuredataError, match="not give back what was sealed"):
        Work([Case(100)])


def test_run_goes_on_until_the_end() -> None:
    work = Work([Case(1000)])
    end = time.monotonic() + 0.1
    run = work.run(Case(1000), SECUREDATA, end - 0.05, end)
    assert time.monotonic() >= end
    assert 0 < run.wall <= 0.05 + (time.monotonic() - end)
    assert 0 < run.cpu <= run.wall + 0.011  # the clock of CPU time may tick in 10 ms
    assert run.calls > 0
    assert run.calls % len(work._calls[Case(1000), SECUREDATA]) == 0  # whole turns


def test_a_worker_that_dies_is_one_clear_error() -> None:
    with Pool(2, [Case(10)]) as pool:
        pool.wait()
        os.kill(pool._workers[1][0].pid or 0, signal.SIGKILL)
        for _ in range(2):  # while it may still seem to be there, and when it certainly is not
            with pytest.raises(SecuredataError, match=r"worker 2 of 2 ended early \(exit code -9\)"):
                pool.run(2, Case(10), SECUREDATA, 0.01)
    assert [process.is_alive() for process, _ in pool._workers] == [False, False]


def test_an_error_ends_workers_that_are_at_work() -> None:
    pool = Pool(2, [Case(10)])
    pool.wait()
    begun = time.monotonic()
    pool._workers[1][1].send((Case(10), SECUREDATA, begun, begun + 60))
    error = KeyError()
    pool.__exit__(KeyError, error, error.__traceback__)
    assert time.monotonic() < begun + 50
    assert [process.is_alive() for process, _ in pool._workers] == [False, False]


@pytest.mark.quiet
def test_workers_run_at_the_same_time() -> None:
    with Pool(2, [Case(10)]) as pool:
        pool.wait()
        begun = time.monotonic()
        runs = pool.run(2, Case(10), SECUREDATA, 0.5)
        took = time.monotonic() - begun
    assert took < sum(run.wall for run in runs)


def test_default_numbers_of_workers() -> None:
    assert throughput.worker_counts(1) == (1,)
    assert throughput.worker_counts(2) == (1, 2)
    assert throughput.worker_counts(7) == (1, 2, 4, 7)
    assert throughput.worker_counts(8) == (1, 2, 4, 8)
    assert throughput.worker_counts(96) == (1, 2, 4, 8, 16, 32, 64, 96)


def test_too_much_memory_is_refused_before_it_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "--sizes", "1024MiB,1023MiB", "--workers", "4096", "--seconds", "0.1")
    assert "4096 workers" in said
    assert "fewer --workers" in said


def test_memory_needed_is_what_is_made() -> None:
    cases = [Case(300_000), Case(1000), Case(300_000, 500)]
    work = Work(cases)
    sealed = sum(len(one[3]) for whole in work._whole.values() for one in whole)
    one_shot = sum(len(call.args[1]) for case in cases for call in work._calls[case, AES_GCM])
    assert memory_needed(cases) == pytest.approx(sealed + one_shot + len(work._out), rel=0.1)


# ------------------------------------------------------------------------------------------------------- a real corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Root:
    return make_corpus(tmp_path)  # six recordings of differing rates, channels and formats


def test_corpus_without_workers_and_with_two(corpus: Root, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(
        capsys, "--corpus", corpus.name, "--workers", "0,2", "--batch-size", "4", "--samples", "12", "--seconds", "30"
    )
    assert found["benchmark"] == "corpus"
    assert (found["corpus"]["name"], found["corpus"]["root"]) == (corpus.name, str(corpus))
    assert found["corpus"]["rows"] == 6
    assert [one["workers"] for one in found["results"]] == [0, 2]
    for one in found["results"]:
        assert one["rounds"] == 6
        # whole batches of 4, at least one for every worker in each of 6 rounds
        assert one["samples"] == 4 * max(1, one["workers"]) * 6
        rates = one["samples_per_s"], one["plaintext_bytes_per_s"], one["audio_seconds_per_s"], one["decrypt_share"]
        for value in (*rates, *one["ms_per_sample"].values()):
            check_estimate(value)
        assert list(one["ms_per_sample"]) == ["fetch", "decrypt", "decode", "collate"]
        assert one["decrypt_share"]["high"] < 1
        assert 0 < one["undisturbed"] <= 1
        per_sample = one["plaintext_bytes_per_s"]["median"] / one["samples_per_s"]["median"]
        sizes = [len(clip.data) for clip in corpus.clips]
        assert min(sizes) <= per_sample <= max(sizes)


def test_corpus_by_root_and_its_tables_and_png(
    corpus: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "corpus.png"
    options = ("--kms", corpus.kms, "--pin", corpus.pin, "--workers", "0", "--seconds", "0.1", "--png", str(path))
    assert main(["bench", "--corpus", str(corpus), *options]) == 0
    out = capsys.readouterr().out
    assert "6 recordings" in out
    assert [line.split("  ")[0] for line in out.splitlines()].count("no workers") == 2
    assert max(len(line) for line in out.splitlines()[4:] if str(corpus) not in line) <= 80
    assert png_size(path) == (2160, 810)


def test_crops_and_resampling_go_to_the_dataset(corpus: Root) -> None:
    with loading.open_dataset(corpus.reference, 8000, 1000) as dataset:
        assert {(sample.waveform.shape, sample.sample_rate) for sample in (dataset[i] for i in range(6))} == {
            ((1, 1000), 8000)
        }


def test_stages_of_a_batch_add_up(corpus: Root) -> None:
    with loading.open_dataset(corpus.reference) as dataset:
        for _ in range(2):  # the second one on counters that have counted, and with everything imported
            begun = time.perf_counter()
            (fetched,) = loading._Timed(dataset).__getitems__([0, 3, 5])
            collated = loading._collate([fetched])
            took = time.perf_counter() - begun
    assert isinstance(fetched, loading._Fetched)
    assert isinstance(collated, tuple)
    _, spent = collated
    assert len(fetched.samples) == spent.samples == 3
    assert spent.bytes == sum(len(corpus.clips[i].data) for i in (0, 3, 5))
    assert spent.audio == pytest.approx(0.5 + 1.0 + 0.3)
    assert 0 < spent.decrypt < spent.seconds <= took
    assert min(spent.fetch, spent.decode, spent.collate) > 0
    assert 0 < spent.cpu < took + 0.011


def test_batches_are_shuffled_passes_without_an_end() -> None:
    batches: Iterator[list[int]] = iter(loading._Batches(10, 4))
    rows = [i for _ in range(10) for i in next(batches)]  # four passes
    passes = [rows[start : start + 10] for start in range(0, 40, 10)]
    assert [sorted(one) for one in passes] == [list(range(10))] * 4
    assert len({tuple(one) for one in passes}) == 4


def test_empty_corpus_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_corpus(tmp_path, [], "empty")
    assert "no recordings" in refused(capsys, "--corpus", root.name)


def test_a_damaged_object_is_an_error_from_the_worker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_corpus(tmp_path, [clip("ann/a.wav")])
    (path,) = [path for path in (Path(root) / "objects").rglob("*") if path.is_file()]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert main(["bench", "--corpus", root.name, "--workers", "1", "--seconds", "0.1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "failed authentication" in captured.err
    assert len(captured.err.splitlines()) == 1  # no worker's traceback


# ---------------------------------------------------------------------------------------------------------- wrong usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sizes", "4 parsecs"], "not a size: '4 parsecs'"),
        (["--sizes", "0"], "between 1 byte and 1024 MiB"),
        (["--sizes", "1025MiB"], "between 1 byte and 1024 MiB"),
        (["--sizes", ""], "not a size"),
        (["--sizes", "none"], "not a size"),
        (["--ranges", "17MiB"], "16 MiB"),
        (["--workers", "two"], "not a list of worker counts"),
        (["--workers", "-1"], "workers"),
        (["--workers", "0"], "--workers 0: only with --corpus"),
        (["--workers", "5000"], "between 0 and 4096"),
        (["--seconds", "0"], "above 0"),
        (["--seconds", "nan"], "above 0"),
        (["--seconds", "soon"], "not a number of seconds"),
        (["--batch-size", "8"], "--batch-size: only with --corpus"),
        (["--num-frames", "8", "--sample-rate", "8"], "--num-frames, --sample-rate: only with --corpus"),
        (["--kms", "local:///x"], "--kms: only with --corpus"),
        (["--corpus", "voice-a", "--sizes", "4kB"], "--sizes: only without --corpus"),
        (["--corpus", "voice-a", "--ranges", "none"], "--ranges: only without --corpus"),
        (["--corpus", "voice-a", "--batch-size", "0"], "not a whole number above 0"),
        (["--corpus", "voice-a", "--samples", "1.5"], "not a whole number above 0"),
        (["--png", "no/such/folder/bench.png"], "no folder no/such/folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage_errors(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(capsys, *arguments)


def test_png_without_matplotlib_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as Python marks what must not be imported
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    begun = time.monotonic()
    assert main(["bench", "--png", str(tmp_path / "bench.png")]) == 1
    assert time.monotonic() - begun < 5  # before 20 seconds of measuring, not after
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "securedata-torch[plot]" in captured.err


def test_help_says_how_to_read_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    for word in ("how to read it", "of AES-GCM", "memcpy", "10^9 bytes", "idle"):
        assert word in out


def test_every_command_of_the_page_is_one() -> None:
    page = blocks(ROOT / "docs" / "bench.md", "console")
    commands = [shlex.split(line.removeprefix("$ ")) for block in page for line in block.text.splitlines()]
    assert len(commands) >= 7
    for command in commands:
        words = [word for word in command if not word.startswith("OPENSSL_ia32cap=")]
        assert words[:2] == ["securedata", "bench"]
        if ">" in words:
            words = words[: words.index(">")]
        assert parser().parse_args(words[1:]).command == "bench"
