"""Roots that only fsspec can reach: they keep the storage contract but for what several writers need."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from torch.utils.data import DataLoader, Dataset

pytest.register_assert_rewrite("securedata.testing.storage")

import securedata as sd  # noqa: E402 - after the rewrite is asked for
from securedata.corpus.create import create_corpus  # noqa: E402 - as above
from securedata.corpus.writer import Writer  # noqa: E402 - as above
from securedata.errors import (  # noqa: E402 - as above
    AccessDenied,
    InvalidArgument,
    NotACorpus,
    NotFound,
    SecuredataError,
    StorageUnreachable,
)
from securedata.storage.base import Storage, Wanted  # noqa: E402 - as above
from securedata.storage.fsspec import FsspecStorage, _time  # noqa: E402 - as above
from securedata.storage.registry import open_storage  # noqa: E402 - as above
from securedata.testing.storage import OBJECT, OTHER, StorageContract, raised  # noqa: E402 - as above
from tests.kit.cli.commandline import PATTERN, Run  # noqa: E402 - as above
from tests.kit.corpora.recorded import put_clips  # noqa: E402 - as above
from tests.kit.sources.recordings import (  # noqa: E402 - as above
    read,
    some_clips,
    write_clips,
)

COUNT = itertools.count()


class TestMemory(StorageContract):
    single_writer = True

    def new(self) -> Storage:
        return FsspecStorage(f"memory://contract-{next(COUNT)}/not yet")

    def again(self, storage: Storage) -> Storage:
        return FsspecStorage(storage.url)


class TestLocal(StorageContract):
    single_writer = True

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path

    def new(self) -> Storage:
        return FsspecStorage(f"local://{self.path}/not yet/{next(COUNT)}")

    def again(self, storage: Storage) -> Storage:
        return FsspecStorage(storage.url)


# ------------------------------------------------------------------------------------------------------ whole corpora


def test_a_corpus_from_init_to_export(run: Run, tmp_path: Path) -> None:
    wavs = write_clips(tmp_path / "wavs")
    folder = f"/init-{next(COUNT)}/sealed"
    root = f"memory:/{folder}"
    for command in (("init", root, "--name", "far"), ("encrypt", wavs, "far", *PATTERN), ("wrap", "list", "far")):
        single = () if command[0] == "wrap" else ("--single-writer",)
        if single:
            refused = run(*command)
            assert refused.code == 1
            assert "--single-writer" in refused.error
        assert run(*command, *single).code == 0
    checked = run("verify", "far", "--json").json
    assert checked["ok"]
    assert checked["objects_opened"] == 6
    assert checked["in_flight"] == 0
    assert run("verify", "far", "--prune", "--single-writer").code == 0
    assert run("export", "far", tmp_path / "back", "--allow-plaintext-export").code == 0
    for path in wavs.rglob("*.wav"):
        assert (tmp_path / "back" / path.relative_to(wavs)).read_bytes() == path.read_bytes()
    assert run("init", root, "--single-writer").code == 1, "there is a corpus already"
    assert sorted(name.rpartition("/")[2] for name in fsspec.filesystem("memory").ls(folder, detail=False)) == [
        ".clock",
        "head",
        "head.prev",
        "manifest",
        "objects",
    ]


class Elsewhere(LocalFileSystem):
    """A storage that fsspec knows and each process reaches: a folder under a scheme that is no path for us."""

    protocol = "elsewhere"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("elsewhere://")))


fsspec.register_implementation("elsewhere", Elsewhere)


class Known(Dataset[Any]):
    """A dataset whose pickle has the receiver import this module, and so know the scheme, before it opens anything."""

    def __init__(self, inner: sd.EncryptedAudioDataset) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, i: int) -> sd.Sample:
        return self.inner[i]


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.full)])
def test_workers_read(tmp_path: Path, method: str) -> None:
    created = create_corpus(
        f"elsewhere://{tmp_path}/sealed", "far", kms=[f"local://{tmp_path}/kek"], single_writer=True
    )
    writer = Writer(created.reference, single_writer=True)
    clips = some_clips()
    writer.commit(add=put_clips(writer, clips))
    with sd.EncryptedAudioDataset("far", num_frames=1_000, crop="start") as ds:
        assert isinstance(ds.corpora[0].snapshot.storage, FsspecStorage)
        loader = DataLoader(Known(ds), batch_size=3, num_workers=2, multiprocessing_context=method, collate_fn=list)
        samples = [sample for batch in loader for sample in batch]
    assert len(samples) == len(clips)
    for sample, one in zip(samples, clips, strict=True):
        assert np.array_equal(sample.waveform.numpy(), read(one.data, 0, 1_000))


def test_there_is_no_corpus(tmp_path: Path) -> None:
    for root in (f"local://{tmp_path}/nothing", f"memory://nothing-{next(COUNT)}"):
        with pytest.raises(NotACorpus):
            sd.open_corpus(root, kms="local:///no/kek")


# --------------------------------------------------------------------------------------------------------- what is one


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ("gopher://somewhere/corpus", "no storage serves gopher://"),
        ("gdrive://folder", "package that is not installed"),
        ("ftp://ann:pa55word@host/corpus", "FSSPEC_FTP_"),
        ("abfs://voice/corpus?sv=pa55word", "FSSPEC_ABFS_"),
        ("simplecache::memory://corpus", "chain"),
        ("memory://", "cannot be a root"),
        ("securedata://voice-a/corpus", "cannot be a root"),
    ],
)
def test_what_is_no_root(root: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said) as caught:
        open_storage(root)
    assert "pa55word" not in str(caught.value) + repr(caught.value.__dict__)


class Refusing(Exception):
    """As backends raise that speak HTTP."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the server said {status}")
        self.status = status


class Faulty(MemoryFileSystem):
    """A filesystem that raises what `fault` says."""

    protocol = "faulty"
    store: ClassVar[dict[str, Any]] = {}
    fault: ClassVar[Exception | None] = None
    asked: ClassVar[int] = 0

    def cat_file(self, path: str, *version: str, start: int | None = None, end: int | None = None) -> bytes:
        assert not version, "as s3fs has it"
        type(self).asked += 1
        if self.fault is not None:
            raise self.fault
        if start and start >= self.size(path):
            raise Refusing(416)
        return bytes(super().cat_file(path, start, end))

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        file = super()._open(path, mode, **kwargs)
        if self.fault is not None and "w" in mode:
            file.write(b"half of ")
            raise self.fault
        return file


@pytest.fixture
def faulty() -> Iterator[type[Faulty]]:
    fsspec.register_implementation("faulty", Faulty, clobber=True)
    yield Faulty
    Faulty.fault, Faulty.asked = None, 0
    Faulty.store.clear()
    Faulty.clear_instance_cache()


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (Refusing(403), AccessDenied, "refused (Refusing, HTTP status 403);"),
        (Refusing(404), NotFound, "does not exist"),
        (PermissionError(13, "no"), AccessDenied, "fsspec is configured"),
        (NotImplementedError(), AccessDenied, "Faulty is read-only"),
        (Refusing(500), StorageUnreachable, ": Refusing, HTTP status 500;"),
        (ValueError("two\nlines"), StorageUnreachable, ": ValueError;"),
    ],
)
def test_errors_of_a_backend_are_ours(
    faulty: type[Faulty], fault: Exception, kind: type[SecuredataError], said: str
) -> None:
    storage = open_storage("faulty://place")
    storage.put_new(OBJECT, [b"whole"])
    faulty.fault = fault
    for call in (
        lambda: storage.get(OBJECT),
        lambda: storage.get_ranges(OBJECT, [(1, 2)]),
        lambda: storage.replace("head", b"new", None),
        lambda: storage.put_new(OTHER, [b"new"]),
    ):
        error = raised(kind, call)
        assert said in str(error)
        assert storage.url in str(error)
        assert error.__cause__ is None
        assert error.__suppress_context__, "a backend's text can hold what it was configured with"
    assert [type(got) for _, got in storage.get_many([Wanted(OBJECT, 0, 2)] * 2, 100)] == [kind] * 2
    faulty.fault = None
    assert [entry.key for entry in storage.list()] == [OBJECT], "half an object is taken away again"
    storage.put_new(OTHER, [b"new"])


def test_a_range_behind_the_end_is_empty_where_a_backend_raises(faulty: type[Faulty]) -> None:
    storage = open_storage("faulty://place")
    storage.put_new(OBJECT, [b"0123456789"])
    assert storage.get_ranges(OBJECT, [(8, 5), (10, 5), (99, 5)]) == [b"89", b"", b""]
    raised(NotFound, lambda: storage.get_ranges(OTHER, [(99, 5)]))


def test_a_backend_that_ignores_ranges_is_noticed(faulty: type[Faulty], monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage("faulty://place")
    storage.put_new(OBJECT, [b"0123456789"])
    monkeypatch.setattr(Faulty, "cat_file", lambda self, path, **_: MemoryFileSystem.cat_file(self, path))
    assert "ignores ranges" in str(raised(StorageUnreachable, lambda: storage.get_ranges(OBJECT, [(2, 5)])))


def test_many_come_with_their_failures(faulty: type[Faulty]) -> None:
    storage = open_storage("faulty://place")
    contents = {f"objects/{n:02x}/{n}": os.urandom(n) for n in range(1, 80)}
    for key, data in contents.items():
        storage.put_new(key, [data])
    wanted = [Wanted(key, 0, len(data) + 1) for key, data in contents.items()]
    wanted[7] = Wanted("objects/none", 0, 5)
    wanted[9] = Wanted("objects/0a/10", 3, 2**40)
    wanted[11] = Wanted("objects/0c/12", 3, 0)
    for in_flight in (1, 200, 1 << 28):
        faulty.asked = 0
        found = dict(storage.get_many(wanted, in_flight))
        assert faulty.asked <= 79, "78 of them once, the missing one again"
        assert sorted(found) == list(range(79))
        for at, one in enumerate(wanted):
            if at == 7:
                assert type(found[at]) is NotFound
            else:
                assert bytes(found[at]) == contents[one.key][one.offset :][: one.length]


def test_a_forked_child_makes_its_own_filesystem() -> None:
    storage = FsspecStorage(f"memory://forked-{next(COUNT)}")
    storage.put_new(OBJECT, [b"x"])
    before = storage._at("")[0]
    assert storage._at("")[0] is before
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if storage._at("")[0] is not before and storage.get(OBJECT) == b"x" else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_the_head_before_is_kept(tmp_path: Path) -> None:
    storage = FsspecStorage(f"local://{tmp_path}/sealed")
    for number in range(3):
        version = storage.get_versioned("head")[1] if number else None
        storage.replace("head", b"head %d" % number, version)
    assert (tmp_path / "sealed" / "head.prev").read_bytes() == b"head 1"


@pytest.mark.parametrize(
    ("info", "time"),
    [
        ({"mtime": 1.5, "created": 9}, 1.5),
        ({"LastModified": datetime(2026, 1, 2, tzinfo=UTC)}, 1767312000),
        ({"created": datetime(2026, 1, 2)}, 1767312000),
        ({"updated": "2026-01-02T00:00:00Z"}, 1767312000),
        ({"modify": "20260102", "created": 4}, 1767312000),
        ({"mtime": None, "created": 5}, 5),
    ],
)
def test_times_as_backends_tell_them(info: dict[str, Any], time: float) -> None:
    assert _time(info) == time


def test_what_has_no_time_is_too_young_to_prune() -> None:
    began = time.time()
    assert began <= _time({"mtime": "yesterday"}) <= time.time()
