"""Samples that cannot be read, and what stands for them: in a loader the next readable row, up to 1 % of an epoch."""

from __future__ import annotations

import errno
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import securedata as sd
from securedata.corpus.objects import missing
from securedata.errors import (
    AccessDenied,
    AuthenticationFailed,
    InvalidArgument,
    KeysExpired,
    NotAFile,
    ObjectMissing,
    RowReplaced,
    SecuredataError,
    StorageUnreachable,
    SubjectErased,
    TooManyReplaced,
    Truncated,
    UndecodableMedia,
    WrongObject,
)
from securedata.storage.local import LocalStorage
from tests.kit.corpora.erasing import erase, lose
from tests.kit.corpora.recorded import Root, add_clips, flip, make_corpus, remove_paths
from tests.kit.counting_kms import Counted
from tests.kit.sources.recordings import Clip, clip, noise

PEOPLE = ("ann", "bob", "cid", "dot")


def text(path: str) -> Clip:
    """A file that its row calls audio."""
    return Clip(path, b"no audio", columns={"format": "FLAC", "subtype": "PCM_16", "sample_rate": 16_000,
                                            "channels": 1, "frames": 100})  # fmt: skip


def many_clips(folder: Path, many: int = 12, name: str = "voice-a", seconds: float = 0.05) -> Root:
    """Recordings a00.wav, a01.wav, ... of four people in turn by quarters."""
    clips = [
        clip(f"a{n:03}.wav", seconds, seed=n % 40, speaker=PEOPLE[n * len(PEOPLE) // many], transcript=f"row {n}")
        for n in range(many)
    ]
    return make_corpus(folder, clips, name)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Twelve recordings; 0 to 2 are ann's, 3 to 5 bob's, and so on."""
    return many_clips(tmp_path)


def rows(samples: list[sd.Sample]) -> list[int]:
    """Which rows these samples are."""
    return [int(sample.transcript.removeprefix("row ")) for sample in samples]


def at(ds: sd.EncryptedAudioDataset, i: int) -> Path:
    """The file of a row's object."""
    name = ds.corpora[0].value("object_id", i).hex()
    return Path(ds.corpora[0].root, "objects", name[:2], name)


def same(one: sd.Sample, other: sd.Sample) -> bool:
    return torch.equal(one.waveform, other.waveform) and one[1:] == other[1:]


# ----------------------------------------------------------------------------------------------------------- defaults


def test_an_erasure_does_not_end_a_run(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        erase(root, "ann")
        got = ds.__getitems__([0, 5, 9])
        assert rows(got) == [3, 5, 9]  # all of ann's rows are gone, so bob's first one is next
        assert same(got[0], ds[3])
        for i in (0, 1):
            with pytest.raises(SubjectErased, match="was erased; refresh"):
                _ = ds[i]  # asked for by number, it says what it is
        assert ds.stats().replaced == 1


def test_an_erasure_ends_a_run_that_wants_to_hear_of_it(root: Root) -> None:
    with sd.EncryptedAudioDataset(root, on_erased="raise", on_error="replace") as ds:
        erase(root, "ann")
        with pytest.raises(SubjectErased):
            ds.__getitems__([0, 5])
        assert rows(ds.__getitems__([5, 9])) == [5, 9]


def test_other_losses_end_a_run(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        lose(root, "a004.wav")
        with pytest.raises(ObjectMissing):
            ds.__getitems__([0, 4])
        assert ds.stats().replaced == 0


# -------------------------------------------------------------------------------------------------------- what counts


def break_reads(patch: pytest.MonkeyPatch, *paths: Path) -> None:
    """Let a disk fail where it reads these files."""
    inodes, pread = {path.stat().st_ino for path in paths}, os.pread

    def fail(fd: int, length: int, offset: int) -> bytes:
        if os.fstat(fd).st_ino in inodes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(fd, length, offset)

    patch.setattr(os, "pread", fail)


def _unreadable(root: Root, ds: sd.EncryptedAudioDataset, patch: pytest.MonkeyPatch) -> None:
    break_reads(patch, at(ds, 4))


def _lost(root: Root, ds: sd.EncryptedAudioDataset, patch: pytest.MonkeyPatch) -> None:
    lose(root, "a004.wav")


def _moved_on(root: Root, ds: sd.EncryptedAudioDataset, patch: pytest.MonkeyPatch) -> None:
    path = at(ds, 4)
    add_clips(root, [clip("a004.wav", 0.1, seed=77, speaker="bob")], replace=True)
    path.unlink()


@pytest.mark.parametrize(
    ("happens", "kind"), [(_unreadable, StorageUnreachable), (_lost, ObjectMissing), (_moved_on, RowReplaced)]
)
def test_losses_are_replaced_if_that_is_wanted(
    root: Root,
    happens: Callable[[Root, sd.EncryptedAudioDataset, pytest.MonkeyPatch], None],
    kind: type[SecuredataError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with sd.EncryptedAudioDataset(root, on_error="replace") as ds:
        happens(root, ds, monkeypatch)
        with pytest.raises(kind):
            _ = ds[4]
        got = ds.__getitems__([4, 0, 5])
        assert rows(got) == [5, 0, 5]
        assert same(got[0], ds[5])
        assert ds.stats().replaced == 1


def test_what_is_no_audio_is_replaced_if_that_is_wanted(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, [clip("a.wav", 0.1, transcript="row 0"), text("b.flac"), text("c.flac")])
    with sd.EncryptedAudioDataset(root, on_error="replace") as ds:
        with pytest.raises(UndecodableMedia):
            _ = ds[1]
        assert rows(ds.__getitems__([1, 0])) == [0, 0]  # c is none either, so it is a again
    with sd.EncryptedAudioDataset(root) as ds, pytest.raises(UndecodableMedia):
        ds.__getitems__([1, 0])


def _flipped(ds: sd.EncryptedAudioDataset) -> None:
    flip(at(ds, 4))


def _cut(ds: sd.EncryptedAudioDataset) -> None:
    path = at(ds, 4)
    path.write_bytes(path.read_bytes()[:-1])


def _swapped(ds: sd.EncryptedAudioDataset) -> None:
    at(ds, 4).write_bytes(at(ds, 5).read_bytes())


def _linked(ds: sd.EncryptedAudioDataset) -> None:
    path = at(ds, 4)
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


@pytest.mark.parametrize(
    ("happens", "kind"),
    [(_flipped, AuthenticationFailed), (_cut, Truncated), (_swapped, WrongObject), (_linked, NotAFile)],
)
def test_what_fails_authentication_is_never_replaced(
    root: Root, happens: Callable[[sd.EncryptedAudioDataset], None], kind: type[SecuredataError]
) -> None:
    with sd.EncryptedAudioDataset(root, on_error="replace") as ds:
        happens(ds)
        for batch in ([4, 0], [0, 4]):
            with pytest.raises(kind):
                ds.__getitems__(batch)
        lose(root, "a003.wav")
        with pytest.raises(kind):  # neither is the row that would have stood for another one
            ds.__getitems__([3])
        assert rows(ds.__getitems__([0, 1])) == [0, 1]


def test_a_refusal_is_never_replaced(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: LocalStorage, *_: object) -> object:
        raise AccessDenied("refused")

    with sd.EncryptedAudioDataset(root, on_error="replace") as ds:
        monkeypatch.setattr(LocalStorage, "get_ranges", refused)
        monkeypatch.setattr(LocalStorage, "get_many", LocalStorage.__mro__[1].get_many)  # type: ignore[attr-defined]  # Storage's own
        with pytest.raises(AccessDenied, match="refused"):
            ds.__getitems__([0, 1])


def test_keys_that_ended_are_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(tmp_path)
    monkeypatch.syspath_prepend(str(counted.installed))
    root = make_corpus(tmp_path, kms=counted.uri)
    with sd.EncryptedAudioDataset(root, on_error="replace", ttl=0.1, kms_wait=0.1) as ds:
        counted.take_away()
        time.sleep(0.1)
        with pytest.raises(KeysExpired):
            ds.__getitems__([0, 1])


def test_storage_that_is_down_is_not_one_object(root: Root, generous: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with sd.EncryptedAudioDataset(root, on_error="replace") as ds:
        break_reads(monkeypatch, *(at(ds, i) for i in (4, 5)))
        with pytest.raises(StorageUnreachable):
            ds.__getitems__([4, 0])
        assert rows(ds.__getitems__([5, 0])) == [6, 0]  # this one's next row can be read
        with pytest.raises(StorageUnreachable):
            ds.__getitems__([5, 5])  # nothing of a batch


def test_a_whole_batch_that_storage_fails_for_is_not_too_many_replaced(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sd.EncryptedAudioDataset(root, on_error="replace") as ds:
        break_reads(monkeypatch, *(at(ds, i) for i in (4, 5, 6)))
        with pytest.raises(StorageUnreachable):
            ds.__getitems__([4, 5, 6])
        assert ds.stats().replaced == 0
        with pytest.raises(TooManyReplaced):
            ds.__getitems__([4, 5, 0])


# ---------------------------------------------------------------------------------------------------- which row it is


def test_the_next_row_goes_round_and_over_to_other_corpora(tmp_path: Path, generous: None) -> None:
    roots = [many_clips(tmp_path, 4, "voice-a"), many_clips(tmp_path, 4, "voice-b")]
    with sd.EncryptedAudioDataset(roots, on_error="replace") as ds:
        lose(roots[0], "a003.wav")
        lose(roots[1], "a003.wav")
        got = ds.__getitems__([3, 7])
        assert same(got[0], ds[4])
        assert same(got[1], ds[0])
        erase(roots[0], "bob", "cid", "dot")
        assert same(ds.__getitems__([1])[0], ds[4])  # of voice-b's people nobody was erased
        assert same(ds.__getitems__([5])[0], ds[5])


def test_a_row_without_any_other_raises_what_it_is(tmp_path: Path) -> None:
    root = many_clips(tmp_path, 1)
    with sd.EncryptedAudioDataset(root, on_error="replace") as ds:
        lose(root, "a000.wav")
        with pytest.raises(ObjectMissing):
            ds.__getitems__([0])


def test_rows_that_are_known_to_be_gone_are_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generous: None
) -> None:
    root = many_clips(tmp_path, 400)
    asked: list[int] = []
    real = LocalStorage.get_many

    def counted(self: LocalStorage, wanted: list[object], in_flight: int) -> object:
        asked.append(len(wanted))
        return real(self, wanted, in_flight)  # type: ignore[arg-type]  # whatever it takes

    monkeypatch.setattr(LocalStorage, "get_many", counted)
    with sd.EncryptedAudioDataset(root) as ds:
        erase(root, "bob")  # rows 100 to 199
        assert rows(ds.__getitems__([100, 150, 0])) == [200, 200, 0]
        assert asked == [3, 2]
    asked.clear()
    with sd.EncryptedAudioDataset(root, on_error="replace") as ds:
        lose(root, "a001.wav", "a002.wav", "a003.wav")
        assert rows(ds.__getitems__([1])) == [4]
        assert asked == [1, 1, 1, 1]
        assert rows(ds.__getitems__([1])) == [4]
        assert asked == [1, 1, 1, 1, 1, 1]
        remove_paths(root, ["a000.wav", "a001.wav"])
        ds.refresh()
        assert rows(ds.__getitems__([1])) == [4]  # by other numbers now


def test_crops_and_transforms_are_those_of_any_sample(tmp_path: Path, generous: None) -> None:
    def transform(waveform: torch.Tensor) -> torch.Tensor:
        return waveform + torch.rand(())

    root = many_clips(tmp_path, 12, seconds=0.1)
    lose(root, "a004.wav")
    with sd.EncryptedAudioDataset(root, on_error="replace", num_frames=200, transform=transform) as ds:
        got = []
        for _ in range(2):
            torch.manual_seed(1)
            got.append(ds.__getitems__([0, 4, 7]))
        assert [sample.waveform.shape[1] for sample in got[0]] == [200, 200, 200]
        assert rows(got[0]) == [0, 5, 7]
        assert all(same(one, other) for one, other in zip(*got, strict=True))


# ------------------------------------------------------------------------------------------------------ options, keep


@pytest.mark.parametrize("options", [{"on_error": "ignore"}, {"on_erased": "skip"}, {"on_error": None}])
def test_options_that_make_no_sense_fail_at_once(root: Root, options: dict[str, str]) -> None:
    [name] = options
    with pytest.raises(InvalidArgument, match=f"{name}= is 'raise' or 'replace'"):
        sd.EncryptedAudioDataset(root, **options)  # type: ignore[arg-type]  # that is the test


def test_a_pickle_keeps_the_options_and_no_names(root: Root) -> None:
    with sd.EncryptedAudioDataset(root, on_error="replace", on_erased="raise", refresh=True) as ds:
        lose(root, "a009.wav")
        with pickle.loads(pickle.dumps(ds)) as again:
            assert rows(again.__getitems__([9])) == [10]
            erase(root, "ann")
            with pytest.raises(SubjectErased):
                again.__getitems__([0])
    with sd.EncryptedAudioDataset(root) as ds:
        erase(root, "bob")
        assert rows(ds.__getitems__([0])) == [6]
        assert b"bob" not in pickle.dumps(ds)


def test_an_erasure_in_the_middle_of_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [
        clip(f"a{n:03}.wav", 0.05, seed=n % 40, speaker="ann" if n in (211, 212) else "bob", transcript=f"row {n}")
        for n in range(240)
    ]
    root = make_corpus(tmp_path, clips)
    monkeypatch.setattr(missing, "RECHECK", 3600.0)
    with sd.EncryptedAudioDataset(root) as ds:
        loader = DataLoader(
            ds,
            batch_size=8,
            num_workers=2,
            prefetch_factor=1,
            multiprocessing_context="fork",
            collate_fn=sd.pad_collate,
        )
        seen = []
        for step, batch in enumerate(loader):
            if step == 2:
                erase(root, "ann")
            seen += [int(words.removeprefix("row ")) for words in batch.transcript]
        assert seen == [n if n not in (211, 212) else 213 for n in range(240)]
        assert ds.stats().replaced == 2


def test_noise_differs() -> None:
    assert not torch.equal(torch.from_numpy(noise(0.1, seed=1)), torch.from_numpy(noise(0.1, seed=2)))
