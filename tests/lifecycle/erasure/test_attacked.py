"""Erasure attacked: what comes back afterwards, and whether the receipt had said that it could."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from securedata.corpus.config import Reference
from securedata.corpus.state.head import open_with
from securedata.corpus.state.layout import object_key
from securedata.corpus.state.tables import open_table
from securedata.corpus.writer import Writer
from securedata.errors import AuthenticationFailed, GenerationChanged, InvalidArgument, SubjectErased, SupersededKey
from securedata.lifecycle.erasure.erase import Erased, erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.operator import Operator
from securedata.storage.registry import open_storage
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, keys_of, look, open_quietly
from tests.kit.corpora.rows import add, content, in_folder, row, table, writer_of
from tests.lifecycle.erasure.test_erase import statement_of

ANN = Request("subject", names=("ann",))


def test_a_backup_of_the_head_is_refused_and_its_objects_are_gone(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    """Where nobody has seen the newer head, an old one with its parts opens: the receipt says so."""
    saved = {key: value for key, value in place.objects.items() if not key.startswith("objects/")}
    erased = erase(people, ANN)
    place.objects.update(saved)
    with pytest.raises(SupersededKey):
        open_quietly(corpus, place)
    with pytest.raises(SupersededKey):
        writer_of(corpus, place)
    said = " ".join(statement_of(erased).remains)
    assert "who may use one of these KMS keys" in said
    assert look(corpus, place).head.rows == 5
    assert "Backups, snapshots of storage or KMS" in said


def test_a_copy_of_the_bucket_reads_on_and_the_receipt_says_so(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    copy = MemoryStorage()
    copy.objects, copy.clock = dict(place.objects), place.clock
    generation = look(corpus, place).head.generation
    erased = erase(people, ANN)
    assert "may have kept what they read" in statement_of(erased).remains[0]
    assert open_quietly(corpus, copy, accept_generation=generation).read("ann/1") == content("ann/1")


def test_a_segment_that_shares_its_object_is_not_said_to_be_erased(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    """The recording's bytes stay with the other segment, which every reader can open."""
    first = row(people, "dan/t@0-50", content("dan/t"), ["dan"], consent_id="C5", sample_rate=100, frames=50)
    people.commit(table(first, {**first, "path": "dan/t@50-100", "consent_id": "C6"}))
    before = dict(place.objects)
    for request in (Request("path", paths=("dan/t@0-50",)), Request("consent", consents=("C5",))):
        with pytest.raises(InvalidArgument, match="1 of the rows are segments"):
            erase(writer_of(corpus, place), request)
    assert place.objects == before
    erase(writer_of(corpus, place), Request("path", paths=("dan/t@0-50", "dan/t@50-100")))
    assert not any(path.startswith("dan") for path in current(corpus, place))


def test_a_backup_that_is_restored_whole_is_refused_and_erased_again(tmp_path: Path, operator: Operator) -> None:
    """Elsewhere it opens, as the receipt says: who restores a backup has to erase again."""
    reference, writer = in_folder(tmp_path / "corpus")
    add(writer, {"ann/1": content("ann/1"), "bob/1": content("bob/1")})
    generation = look(reference).head.generation
    shutil.copytree(tmp_path / "corpus", tmp_path / "backup")
    first = erase(writer, ANN)
    shutil.rmtree(tmp_path / "corpus")
    shutil.copytree(tmp_path / "backup", tmp_path / "corpus")
    for attempt in (open_quietly, writer_of):
        with pytest.raises(SupersededKey, match=f"accept-generation {generation}"):
            attempt(reference)
    assert "Backups, snapshots of storage or KMS" in " ".join(statement_of(first).remains)
    again = erase(writer_of(reference, accept_generation=generation), ANN)
    assert again.commit.rows == 1
    assert again.receipt != first.receipt
    assert sorted(current(reference)) == ["bob/1"]
    assert not any(object_key(id) in keys_of(open_storage(reference.root)) for id in gone_of(first))


def test_an_old_part_opens_with_no_key_of_today(corpus: Reference, place: MemoryStorage, people: Writer) -> None:
    before = look(corpus, place)
    saved = {part.id: place.objects[part.storage_key][0] for part in before.head.parts}
    erase(people, ANN)
    after = look(corpus, place)
    keys = [part.key for part in after.head.parts] + [one.table.key for one in after.head.retired] + [after.key]
    for part in before.head.parts:
        assert open_table(saved[part.id], before.head.corpus_id, part, ["path"], place.url).num_rows == part.rows
        for key in keys:
            with pytest.raises(AuthenticationFailed):
                open_table(saved[part.id], before.head.corpus_id, replace(part, key=key), ["path"], place.url)
    sealed, _ = place.objects["head"]
    with pytest.raises(AuthenticationFailed):  # nor does yesterday's corpus key open the head of today
        open_with(sealed, before.key, place.url)


def test_a_process_that_has_read_it_before(tmp_path: Path, operator: Operator) -> None:
    """A filesystem that fsspec keeps, and a pickle: neither has the recording, nor the key of what is left."""
    reference, writer = in_folder(tmp_path / "corpus")
    add(writer, {"ann/1": content("ann/1"), "bob/1": content("bob/1")})
    options = {"root": reference.root, "kms": list(reference.kms), "pin": str(reference.pins[0])}
    kept = fsspec.filesystem("securedata", **options)
    assert kept.cat_file("ann/1") == content("ann/1")
    opened = kept.open("ann/1")
    pickled = pickle.dumps(kept)
    erase(writer, ANN)
    assert fsspec.filesystem("securedata", **options) is kept
    for read in (lambda: kept.cat_file("ann/1"), lambda: kept.open("ann/1").read(), opened.read):
        with pytest.raises(SubjectErased):
            read()
    assert kept.cat_file("bob/1") == content("bob/1")
    with pytest.raises((SubjectErased, FileNotFoundError, GenerationChanged)):
        pickle.loads(pickled).cat_file("ann/1")


def gone_of(erased: Erased) -> list[bytes]:
    """The objects that its receipt says are deleted."""
    return [bytes.fromhex(one) for one in statement_of(erased).deleted.objects]
