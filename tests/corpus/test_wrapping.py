"""Wraps of a corpus key are added and dropped by one commit, and the last one stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from securedata.corpus.opening import open_corpus
from securedata.corpus.state.head import seal_head
from securedata.corpus.state.layout import HEAD
from securedata.corpus.wrapping import add_wrap, drop_wrap
from securedata.corpus.writer import Writer
from securedata.errors import (
    ContextNotBound,
    InvalidArgument,
    InvalidKMSURI,
    KMSDenied,
    KMSUnreachable,
    LimitExceeded,
    NoTrustedKey,
    PinRequired,
)
from securedata.keys.kms import Context
from securedata.keys.local import LocalKMS, create_key_file, uri_for
from securedata.storage.local import LocalStorage
from securedata.testing.kms import UnboundKMS
from tests.kit.corpora.contents import read_head
from tests.kit.corpora.recorded import Root, add_clips
from tests.kit.sources.recordings import clip

Key = Callable[[str], LocalKMS]


@pytest.fixture
def key(tmp_path: Path) -> Key:
    def make(name: str) -> LocalKMS:
        create_key_file(tmp_path / "more" / f"{name}.kek")
        return LocalKMS(uri_for(tmp_path / "more" / f"{name}.kek"))

    return make


def opens(root: Root, kms: LocalKMS) -> int:
    """Rows that are read through this key alone."""
    with open_corpus(replace(root.reference, kms=(kms.uri,))) as corpus:
        assert bytes(corpus.read(0)) == root.clips[0].data
        return len(corpus)


def test_a_key_that_was_added_opens_and_one_that_was_dropped_does_not(root: Root, key: Key) -> None:
    writer, second = Writer(root.reference), key("second")
    with pytest.raises(NoTrustedKey):
        opens(root, second)
    generation = writer.head.generation
    done = add_wrap(writer, second)
    assert done.changed
    assert done.head.generation == generation + 1
    assert [wrap.uri for wrap in done.head.wraps] == [LocalKMS(root.kms).wrap_uri, second.wrap_uri]
    assert opens(root, second) == opens(root, LocalKMS(root.kms)) == 6
    add_clips(root, [clip("cid/new.wav", speaker="cid")])  # a commit keeps the wraps
    assert opens(root, second) == 7
    dropped = drop_wrap(writer, root.kms)
    assert [wrap.uri for wrap in dropped.head.wraps] == [second.wrap_uri]
    with pytest.raises(NoTrustedKey):
        opens(root, LocalKMS(root.kms))
    assert opens(root, second) == 7


def test_adding_what_is_there_changes_nothing(root: Root, key: Key) -> None:
    writer, second = Writer(root.reference), key("second")
    before = add_wrap(writer, second).head
    again = add_wrap(writer, second)
    assert not again.changed
    assert again.head == before
    assert Writer(root.reference).head == before


def test_a_wrap_that_opens_no_longer_is_made_anew(root: Root, key: Key) -> None:
    writer, second = Writer(root.reference), key("second")
    add_wrap(writer, second)
    storage = LocalStorage(root)
    opened = read_head(storage, [LocalKMS(root.kms)], root.reference.pins)
    mine, theirs = opened.head.wraps
    broken = replace(opened.head, generation=opened.head.generation + 1, wraps=(mine, replace(theirs, blob=bytes(60))))
    storage.replace(HEAD, seal_head(broken, opened.key), opened.version)
    with pytest.raises(KMSDenied):
        opens(root, second)
    assert add_wrap(Writer(root.reference), second).changed
    assert opens(root, second) == 6
    assert len(Writer(root.reference).head.wraps) == 2


def test_a_key_that_does_not_bind_or_cannot_open_is_refused(root: Root, key: Key) -> None:
    class Deaf(LocalKMS):
        """May encrypt and not decrypt."""

        def unwrap(self, blob: bytes, context: Context) -> bytes:
            raise KMSDenied(f"{self.uri}: no")

    writer = Writer(root.reference)
    before = writer.head
    with pytest.raises(ContextNotBound):
        add_wrap(writer, UnboundKMS(key("second")))  # type: ignore[arg-type]  # a KMS like any other
    with pytest.raises(KMSDenied):
        add_wrap(writer, Deaf(key("second").uri))
    with pytest.raises(KMSUnreachable):
        add_wrap(writer, LocalKMS(uri_for(Path(root).parent / "nowhere.kek")))
    with pytest.raises(InvalidKMSURI, match="inside"):
        add_wrap(writer, LocalKMS(uri_for(Path(root) / "inside.kek")))
    assert Writer(root.reference).head == before


def test_the_last_wrap_stays(root: Root) -> None:
    writer = Writer(root.reference)
    before = writer.head
    for uri in (root.kms, before.wraps[0].uri):
        with pytest.raises(InvalidArgument, match="the last key"):
            drop_wrap(writer, uri)
    assert Writer(root.reference).head == before


@pytest.mark.parametrize("uri", ["local:" + "0" * 32, "nonsense", "local:///not/there.kek", "hcvault://h/t/keys/k", ""])
def test_what_is_no_wrap_of_it_is_not_dropped(root: Root, key: Key, uri: str) -> None:
    writer = Writer(root.reference)
    add_wrap(writer, key("second"))
    with pytest.raises(InvalidArgument, match="its wraps are by") as caught:
        drop_wrap(writer, uri)
    assert writer.head.wraps[0].uri in str(caught.value)


def test_a_key_file_that_is_gone_is_dropped_by_what_the_head_calls_it(root: Root, key: Key) -> None:
    writer, second = Writer(root.reference), key("second")
    add_wrap(writer, second)
    name = second.wrap_uri
    second.path.unlink()
    with pytest.raises(InvalidArgument):
        drop_wrap(writer, second.uri)
    assert [wrap.uri for wrap in drop_wrap(writer, name).head.wraps] == [LocalKMS(root.kms).wrap_uri]


def test_writers_that_add_at_the_same_time_lose_none(root: Root, key: Key) -> None:
    writers = [Writer(root.reference) for _ in range(4)]  # each has read the same head
    for number, writer in enumerate(writers):
        add_wrap(writer, key(str(number)))
    assert len(Writer(root.reference).head.wraps) == 5
    for number in range(4):
        assert opens(root, key(str(number))) == 6


def test_a_head_has_room_for_so_many(root: Root, key: Key) -> None:
    class Long(LocalKMS):
        """A provider whose URIs are long."""

        wrap_uri = property(lambda self: f"long://{self.path.name}" + "x" * 30_000)  # type: ignore[assignment]  # shorter than a method

        def matches(self, wrap_uri: str) -> bool:
            return wrap_uri == self.wrap_uri

    writer = Writer(root.reference)
    for name in ("one", "two"):
        add_wrap(writer, Long(key(name).uri))
    before = writer.head
    with pytest.raises(LimitExceeded):
        add_wrap(writer, Long(key("three").uri))
    assert Writer(root.reference).head == before


def test_the_pin_is_needed(root: Root) -> None:
    with pytest.raises(PinRequired):
        Writer(replace(root.reference, pins=()))
