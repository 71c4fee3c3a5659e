"""Consent as training programs meet it: what opens, what expires under them, and batches that get shorter."""

from __future__ import annotations

import datetime
import io
import multiprocessing.context
import os
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import reduction
from pathlib import Path

import fsspec
import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.corpus.config import write_entry
from securedata.errors import ConsentExpired, InvalidArgument, NoSuchPath, RowReplaced, SubjectErased
from securedata.torch.stats import Stats
from tests.kit.cli.commandline import Run
from tests.kit.corpora.erasing import erase
from tests.kit.corpora.recorded import Root, add_clips, make_corpus, remove_paths
from tests.kit.sources.recordings import Clip, clip

DAY = 24 * 3600.0
PEOPLE = ("ann", "ann", "bob", "bob", "cid", "cid", "dot", "dot")


def end(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(time.time() + seconds, datetime.UTC)


def recordings() -> list[Clip]:
    """0 to 7, two of each person: bob's expire tomorrow, cid's are for TTS only, and dot has withdrawn."""
    said = {
        "ann": {"purposes": ["asr", "tts"]},
        "bob": {"purposes": ["asr"], "expires": end(DAY), "consent_id": "of bob"},
        "cid": {"purposes": ["tts"]},
        "dot": {"purposes": []},
    }
    return [
        clip(f"{who}/{n}.wav", 0.05, seed=n, speaker=who, transcript=str(n), **said[who])
        for n, who in enumerate(PEOPLE)
    ]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, recordings())


@contextmanager
def later(seconds: float) -> Iterator[None]:
    """This host's clock goes ahead, in workers that are forked meanwhile, too."""
    real = time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + seconds)
        yield


def numbers(samples: list[sd.Sample]) -> list[int]:
    return [int(sample.transcript) for sample in samples]


def left_out(stats: Stats) -> tuple[int, int, int, int]:
    return stats.restricted, stats.expired, stats.withdrawn, stats.other_purpose


# ---------------------------------------------------------------------------------------------------- what is opened


def test_a_dataset_opens_what_the_purpose_allows(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        assert numbers(list(ds)) == [0, 1, 2, 3, 4, 5]
        assert left_out(ds.stats()) == (0, 0, 2, 0)
    with sd.EncryptedAudioDataset([root, root], purpose="tts") as ds:
        assert numbers(list(ds)) == [0, 1, 4, 5] * 2
        stats = ds.stats()
        assert (stats.skipped, *left_out(stats)) == (0, 0, 0, 4, 4)
        assert (ds + ds).stats() == ds.stats(), "counted once"
    with later(2 * DAY), sd.EncryptedAudioDataset(root, purpose="asr") as ds:
        assert (numbers(list(ds)), ds.stats().expired) == ([0, 1], 2)


def test_every_face_obeys_the_purpose_of_the_config(
    root: Root, tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    reference = root.reference
    write_entry(
        root.name, type(reference)(reference.root, root.name, reference.kms, reference.pins, {"purpose": "asr"})
    )
    expected = {f"{PEOPLE[n]}/{n}.wav" for n in (0, 1, 2, 3)}
    with sd.EncryptedAudioDataset(root.name) as ds:
        assert {ds.get_metadata(i).path for i in range(len(ds))} == expected
    assert {one["path"] for one in run("ls", root.name, "-R", "--json").json} == expected
    assert run("ls", root.name, "-R", "--json", "--purpose", "tts").json[-1]["path"] == "cid/5.wav"
    files = fsspec.filesystem("securedata")
    assert {path.removeprefix(f"{root.name}/") for path in files.find(root.name)} == expected
    tts = fsspec.filesystem("securedata", root=str(root), kms=root.kms, pin=root.pin, purpose="tts")
    assert tts.find("") == ["ann/0.wav", "ann/1.wav", "cid/4.wav", "cid/5.wav"]
    assert sd.load(f"securedata://{root.name}/bob/2.wav")[0].shape == (1, 800)
    assert sd.load(f"securedata://{root.name}/cid/4.wav", purpose="tts")[0].shape == (1, 800)
    with pytest.raises(NoSuchPath, match="consent"):
        sd.load(f"securedata://{root.name}/cid/4.wav")
    assert run("cat", root.name, "cid/4.wav", "--allow-plaintext-export").code == 1
    report = sd.export(root.name, tmp_path / "out", allow_plaintext_export=True)
    assert (report.rows, report.complete) == (4, True)
    assert {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.wav")} == expected
    shown = run("info", root.name, "--json").json
    left_out = {"restricted": 0, "expired": 0, "withdrawn": 2, "other_purpose": 2}
    assert (shown["recordings"], shown["left_out"]) == (8, left_out)
    assert run("cat", root.name, "cid/4.wav", "--purpose", "a;b").code == 2
    with pytest.raises(InvalidArgument, match="purpose"):
        sd.load(f"securedata://{root.name}/cid/4.wav", purpose="")


# ------------------------------------------------------------------------------------------------ what expires, goes


def test_a_worker_raises_what_expired(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        loader = DataLoader(ds, 2, num_workers=1, collate_fn=list, multiprocessing_context="fork")
        assert [numbers(batch) for batch in loader] == [[0, 1], [2, 3], [4, 5]]
        with later(2 * DAY):
            batches = iter(loader)
            assert numbers(next(batches)) == [0, 1]
            with pytest.raises(ConsentExpired, match="the consent to it ended at"):
                next(batches)
            assert len(ds) == 6
            assert ds.refresh() is False  # of the same generation
            assert (len(ds), ds.stats().expired) == (4, 2)


def test_workers_skip_what_is_gone(root: Root) -> None:
    add_clips(root, [clip(f"eve/{n}.wav", 0.05, seed=n, speaker="eve", transcript=str(n)) for n in (8, 9, 10, 11)])
    with sd.EncryptedAudioDataset(root, on_gone="skip") as ds:
        erase(root, "cid")
        remove_paths(root, ["eve/9.wav"])
        for path in Path(root, "objects").rglob(
            ds.corpora[0].index.location(ds.corpora[0].find("eve/9.wav")).object_id.hex()
        ):
            path.unlink()
        loader = DataLoader(ds, 5, num_workers=2, collate_fn=list, multiprocessing_context="fork")
        with later(2 * DAY):
            got = [numbers(batch) for batch in loader]
        # rows 2 and 3 expired, 4 and 5 were erased, 9 was removed; each worker has read one batch
        assert got == [[0, 1], [8, 10, 11]]
        assert (ds.stats().skipped, ds.stats().replaced, ds.stats().samples) == (5, 0, 5)


def test_a_batch_is_never_empty(root: Root) -> None:
    with sd.EncryptedAudioDataset(root, on_gone="skip") as ds, later(2 * DAY):
        assert numbers(ds.__getitems__([2, 3])) == [4]
        assert numbers(ds.__getitems__([1, 2])) == [1]
        assert (ds.stats().skipped, ds.stats().replaced) == (2, 1)
        both = ds.map(lambda sample: sample) + ds
        assert numbers(both.__getitems__([2, 7, 9])) == [1]
        assert numbers(both.__getitems__([2, 9])) == [4]
        assert numbers(ds.map(lambda sample: sample).__getitems__([3, 5])) == [5]
        with pytest.raises(ConsentExpired):
            _ = ds[2]  # asked for by number, it says what it is
    with (
        sd.EncryptedAudioDataset(root, speaker="bob", on_gone="skip") as ds,
        later(2 * DAY),
        pytest.raises(ConsentExpired),
    ):
        ds.__getitems__([0, 1])


@pytest.mark.parametrize("on_gone", [None, "raise", "replace", "skip"])
@pytest.mark.parametrize("kind", [ConsentExpired, SubjectErased, RowReplaced])
def test_what_becomes_of_rows_that_are_gone(
    root: Root, kind: type[Exception], on_gone: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("securedata.torch.replace.SHARE", 1)
    with sd.EncryptedAudioDataset(root, on_gone=on_gone, on_error="raise", on_erased="replace") as ds:
        if kind is SubjectErased:
            erase(root, "bob")
        elif kind is RowReplaced:
            ids = [ds.corpora[0].index.location(i).object_id.hex() for i in (2, 3)]
            remove_paths(root, ["bob/2.wav", "bob/3.wav"])
            for one in ids:
                for path in Path(root, "objects").rglob(one):
                    path.unlink()
        with later(2 * DAY if kind is ConsentExpired else 0.0):
            if on_gone == "raise" or (on_gone is None and kind is not SubjectErased):
                with pytest.raises(kind):
                    ds.__getitems__([0, 2, 4])
            else:
                assert numbers(ds.__getitems__([0, 2, 4])) == ([0, 4] if on_gone == "skip" else [0, 4, 4])


def test_no_other_choice_is_taken(root: Root) -> None:
    with pytest.raises(InvalidArgument, match="on_gone= is 'raise', 'replace' or 'skip'"):
        sd.EncryptedAudioDataset(root, on_gone="drop")


class _Descriptor:
    """What stands for a descriptor in a pickle for a worker."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def detach(self) -> int:
        return os.dup(self.fd)


class _Spawning:
    """What multiprocessing offers to pickles while it starts a process."""

    DupFd = _Descriptor

    def duplicate_for_child(self, fd: int) -> int:
        return fd


def test_a_started_worker_and_a_pickle_keep_to_it_too(root: Root) -> None:
    with sd.EncryptedAudioDataset(root, purpose="asr", on_gone="skip") as ds:
        stored = pickle.dumps(ds)
        data = io.BytesIO()
        multiprocessing.context.set_spawning_popen(_Spawning())
        try:
            reduction.dump(ds, data)
        finally:
            multiprocessing.context.set_spawning_popen(None)
        for again in (pickle.loads(data.getvalue()), pickle.loads(stored)):
            assert left_out(again.stats()) == (0, 0, 2, 2)
            assert numbers(again.__getitems__([0, 2])) == [0, 2]
            with later(2 * DAY):
                assert numbers(again.__getitems__([0, 2])) == [0]
                with pytest.raises(ConsentExpired):
                    _ = again[2]
