"""`hold add --object-lock` on a real object store with Object Lock: who may delete there cannot delete what is held."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from securedata.corpus.config import Reference, write_entry
from securedata.corpus.state.head import open_head
from securedata.corpus.state.layout import object_key, pack_key
from securedata.corpus.state.tables import read_table
from securedata.corpus.wrapping import add_wrap
from securedata.corpus.writer import Writer
from securedata.errors import (
    AccessDenied,
    DeleteRefused,
    InvalidArgument,
    NoObjectLock,
    NoSuchHold,
    NotFound,
    NoTrustedKey,
    PinMismatch,
    StorageUnreachable,
)
from securedata.format.header import Kind
from securedata.format.sealed import Expect, open_whole
from securedata.keys.kms import open_all
from securedata.keys.local import create_key_file, uri_for
from securedata.keys.tags import Tagger
from securedata.lifecycle.derived import register_derived
from securedata.lifecycle.erasure.erase import Options, erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.holds.everywhere import add_everywhere, release_everywhere
from securedata.lifecycle.holds.held import list_holds
from securedata.lifecycle.holds.hold import add_hold, release_hold
from securedata.lifecycle.holds.notes import read_notes
from securedata.lifecycle.packing.pack import pack
from securedata.lifecycle.receipt.operator import make_operator
from securedata.lifecycle.rotate import rotate_head
from securedata.storage.registry import open_storage
from securedata.storage.s3.store import S3Storage
from tests.cloud.conftest import VERSIONED
from tests.conftest import FULL, Note
from tests.kit.corpora.contents import current, look, rows_of
from tests.kit.corpora.rows import add, content, fill, make, writer_of
from tests.kit.docs.tree import ROOT
from tests.kit.hooked import Hooked
from tests.kit.schedules.interleave import Crash
from tests.kit.servers import Seaweed

pytestmark = pytest.mark.xdist_group("servers")

BUCKET = "held"
YES = {"object_lock": True, "yes": True}
KILLS = 10 if FULL else 2  # of each act


@pytest.fixture(scope="module")
def lockable(weed: Seaweed) -> str:
    weed.client().create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    return BUCKET


@pytest.fixture
def corpus(admin: Seaweed, lockable: str, prefix: str) -> Reference:
    """Two rows of ann, one of bob, and one of both, in parts of one commit each."""
    reference = make(root=f"s3://{lockable}/{prefix}", name=prefix)
    writer = writer_of(reference)
    fill(writer, "ann/1", "ann/2")
    fill(writer, "bob/1", subjects=["bob"])
    fill(writer, "both/1", subjects=["ann", "bob"])
    return reference


class Bucket:
    """What somebody with all rights sees and does below the root of a corpus."""

    def __init__(self, server: Seaweed, reference: Reference) -> None:
        self.client = server.client()
        self.bucket, _, self.prefix = reference.root.removeprefix("s3://").partition("/")

    def versions(self) -> list[tuple[str, str]]:
        """Key and version id of all contents, the newest first for each key."""
        found = self.client.list_object_versions(Bucket=self.bucket, Prefix=f"{self.prefix}/")
        return [(one["Key"].removeprefix(f"{self.prefix}/"), one["VersionId"]) for one in found.get("Versions", ())]

    def locked(self) -> list[tuple[str, str]]:
        """Those that have a legal hold."""
        looked = {one: self._at(*one, self.client.head_object) for one in self.versions()}
        return [one for one, answer in looked.items() if answer.get("ObjectLockLegalHoldStatus") == "ON"]

    def locked_keys(self) -> set[str]:
        """The keys of which a version has a legal hold."""
        return {key for key, _ in self.locked()}

    def delete_all(self) -> set[str]:
        """Delete every version that can be; returns the keys of those that cannot."""
        refused = {}
        for key, id in self.versions():
            try:
                self._at(key, id, self.client.delete_object)
            except ClientError as error:
                refused[key] = error.response["Error"]["Code"]
        assert set(refused.values()) <= {"AccessDenied"}
        return set(refused)

    def read(self, key: str, id: str) -> bytes:
        return bytes(self._at(key, id, self.client.get_object)["Body"].read())

    def put(self, key: str, data: bytes) -> str:
        answer = self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=bytes(data))
        return str(answer["VersionId"])

    def turn(self, key: str, id: str, status: str) -> None:
        self._at(key, id, partial(self.client.put_object_legal_hold, LegalHold={"Status": status}))

    def _at(self, key: str, id: str, call: Callable[..., Any]) -> Any:
        return call(Bucket=self.bucket, Key=f"{self.prefix}/{key}", VersionId=id)


@pytest.fixture
def bucket(admin: Seaweed, corpus: Reference) -> Bucket:
    return Bucket(admin, corpus)


def tag(writer: Writer, name: str) -> bytes:
    return Tagger(writer.head.secret).tag(name)


def needed(reference: Reference, *people: str) -> set[str]:
    """The keys that open the rows of these people, by the current head."""
    storage = open_storage(reference.root)
    head = look(reference).head
    keys = {"head"}
    for part in head.parts:
        for row in read_table(storage, head.corpus_id, part, None).to_pylist():
            if {*row["subjects"]} & {*people}:
                keys |= {part.storage_key, object_key(row["object_id"])}
    return keys


def deny(server: Seaweed, bucket: str, action: str) -> None:
    statement = {"Effect": "Deny", "Principal": "*", "Action": [action]}
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": resources}]}
    server.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


# ------------------------------------------------------------------------------------------------------------------ add


def test_what_somebody_deletes_in_the_bucket_still_opens(corpus: Reference, bucket: Bucket) -> None:
    writer = writer_of(corpus)
    done, reached = add_everywhere(writer, "ann", "7", **YES)
    assert (done.object_lock, done.changed, reached.reached, done.unlocked) == (True, True, (), ())
    assert done.locked is not None
    wanted = needed(corpus, "ann")
    assert bucket.locked_keys() == wanted
    assert (done.locked.objects, done.locked.missing) == (3, 0)
    assert done.locked.objects + done.locked.parts + 1 == len(wanted)
    locked = bucket.locked()
    # what comes later replaces head and parts; the locked versions stay
    fill(writer, "bob/2", subjects=["bob"])
    rotate_head(writer)
    assert bucket.delete_all() == {key for key, _ in locked}
    assert sorted(bucket.versions()) == sorted(locked)
    [head_id] = [id for key, id in locked if key == "head"]
    head = open_head(bucket.read("head", head_id), "", corpus.root, open_all(corpus.kms), corpus.pins).head
    storage, found = open_storage(corpus.root), {}
    for part in head.parts:
        try:
            rows = read_table(storage, head.corpus_id, part, None).to_pylist()
        except NotFound:
            continue
        for row in rows:
            if "ann" in row["subjects"]:
                sealed = storage.get(object_key(row["object_id"]))
                expect = Expect(Kind.DATA, head.corpus_id, row["object_id"], corpus.root)
                found[row["path"]] = bytes(open_whole(row["data_key"], sealed, expect))
    assert found == {path: content(path) for path in ("ann/1", "ann/2", "both/1")}


def test_a_pack_with_recordings_of_a_held_person_is_locked(corpus: Reference, bucket: Bucket) -> None:
    assert pack(corpus, now=True).objects == 4
    writer = writer_of(corpus)
    with pytest.raises(InvalidArgument, match=r"for 0 objects, 1 pack, in which other people's recordings lie too, 1 "):
        add_everywhere(writer, "ann", "7", object_lock=True)
    fill(writer, "ann/3")
    done, _ = add_everywhere(writer, "ann", "7", **YES)
    assert str(done.locked).startswith("Locked(objects=1, packs=1, parts=2, missing=0")
    rows = current(corpus)
    old = pack_key(rows["ann/1"]["pack"])
    assert {old, object_key(rows["ann/3"]["object_id"])} < bucket.locked_keys()
    writer.commit(remove=["bob/1"])
    with pytest.raises(DeleteRefused, match="3 objects moved, but not everything was deleted"):
        pack(corpus, compact=0, now=True)
    new = pack_key(current(corpus)["ann/1"]["pack"])
    add_everywhere(writer, "ann", "7", **YES)
    assert {old, new} < bucket.locked_keys()


def test_it_must_be_confirmed_and_nothing_is_written_before(corpus: Reference, bucket: Bucket) -> None:
    before = bucket.versions()
    with pytest.raises(InvalidArgument, match=r"for 3 objects, \d manifest parts and the head of .* --yes"):
        add_everywhere(writer_of(corpus), "ann", "7", object_lock=True)
    assert (bucket.versions(), read_notes(look(corpus).head.corpus_id)) == (before, {})


def test_rows_that_come_later_want_another_run(corpus: Reference, bucket: Bucket) -> None:
    writer = writer_of(corpus)
    add_everywhere(writer, "ann", "7", **YES)
    fill(writer, "ann/3")
    row = current(corpus)["ann/3"]
    assert object_key(row["object_id"]) not in bucket.locked_keys()
    done, _ = add_everywhere(writer, "ann", "7", **YES)
    assert (done.changed, done.generation, done.locked is not None) == (False, look(corpus).head.generation, True)
    assert bucket.locked_keys() >= needed(corpus, "ann")
    assert object_key(row["object_id"]) in bucket.locked_keys()


def test_a_hold_gets_it_later_and_keeps_it(corpus: Reference, bucket: Bucket) -> None:
    writer = writer_of(corpus)
    add_everywhere(writer, "ann", "7", reason="a letter")
    assert bucket.locked() == []
    [before] = look(corpus).head.holds
    done, _ = add_everywhere(writer, "ann", "7", **YES)
    assert (done.changed, done.first, done.object_lock) == (False, False, True)
    [after] = look(corpus).head.holds
    assert (after.time, after.object_lock) == (before.time, True)
    done, _ = add_everywhere(writer, "ann", "7")
    assert (done.object_lock, done.locked, look(corpus).head.holds) == (True, None, (after,))
    [person] = list_holds(corpus).people
    assert [(one.reason, one.object_lock) for one in person.holds] == [("a letter", True)]


@pytest.mark.parametrize("action", ["s3:PutObjectLegalHold", "s3:GetBucketObjectLockConfiguration"])
def test_a_refusal_comes_before_anything_is_written(
    admin: Seaweed, corpus: Reference, bucket: Bucket, action: str
) -> None:
    writer, before = writer_of(corpus), bucket.versions()
    deny(admin, BUCKET, action)
    try:
        with pytest.raises(AccessDenied, match=f"allow {action}"):
            add_everywhere(writer, "ann", "7", **YES)
    finally:
        admin.client().delete_bucket_policy(Bucket=BUCKET)
    assert (bucket.versions(), read_notes(writer.corpus_id)) == (before, {})


@pytest.mark.parametrize("place", [f"s3://{VERSIONED}/", "s3://voice/", ""])
def test_storage_without_object_lock(admin: Seaweed, prefix: str, tmp_path: Path, place: str) -> None:
    reference = make(root=f"{place}{prefix}" if place else str(tmp_path / "disk"), name=prefix)
    writer = writer_of(reference)
    fill(writer, "ann/1")
    generation = writer.head.generation
    with pytest.raises(NoObjectLock, match="hold without --object-lock"):
        add_everywhere(writer, "ann", "7", **YES)
    assert (writer.refresh().generation, read_notes(writer.corpus_id)) == (generation, {})
    add_everywhere(writer, "ann", "7")
    done, _ = release_everywhere(writer, "7", subject="ann")
    assert (done.changed, done.unlocked) == (True, 0)
    assert release_everywhere(writer, "7", subject="ann")[0].changed is False


def test_a_failure_in_the_middle_says_what_is_so(corpus: Reference, bucket: Bucket) -> None:
    def fail(call: str, key: str) -> None:
        if call == "turn_on" and key.startswith("objects/"):
            raise StorageUnreachable("the line is cut")

    with pytest.raises(StorageUnreachable, match=r"cut; the corpus has the hold for case 7, .* run the same command"):
        add_everywhere(writer_of(corpus, Hooked(open_storage(corpus.root), fail)), "ann", "7", **YES)
    [hold] = look(corpus).head.holds
    assert hold.object_lock
    add_everywhere(writer_of(corpus), "ann", "7", **YES)
    assert bucket.locked_keys() == needed(corpus, "ann")


# ------------------------------------------------------------------------------------------------------ killed anywhere


def kills(corpus: Reference, act: Callable[[Writer], object]) -> Iterator[int]:
    """Run `act` again and again, killed after one more of its writes each time, until it ends."""
    for number in range(1, 60):
        left = number

        def kill(call: str, key: str) -> None:
            nonlocal left
            if call in ("replace", "turn", "turn_on", "turn_off", "check"):
                left -= 1
                if not left:
                    raise Crash

        writer = writer_of(corpus, Hooked(open_storage(corpus.root), kill))
        try:
            act(writer)
        except Crash:
            yield number
        else:
            return
    raise AssertionError("it never ended")


def test_a_run_that_is_killed_anywhere_is_completed_by_the_next(corpus: Reference, bucket: Bucket) -> None:
    """And at every moment, what has a legal hold is of a hold that the head shows, so that a release finds it."""
    count = 0
    for number in kills(corpus, lambda writer: add_everywhere(writer, "ann", "7", **YES)):
        count = number
        assert not bucket.locked() or [one.object_lock for one in look(corpus).head.holds] == [True]
    assert count >= 5
    assert bucket.locked_keys() == needed(corpus, "ann")
    count = 0
    for number in kills(corpus, lambda writer: release_everywhere(writer, "7", subject="ann")):
        count = number
        assert not bucket.locked() or [one.object_lock for one in look(corpus).head.holds] == [True]
    assert count >= 5
    assert (bucket.locked(), look(corpus).head.holds) == ([], ())


def test_killed_with_9_at_random_moments(corpus: Reference, bucket: Bucket, note: Note) -> None:
    """In a process of its own: what threads have under way ends with it, at whatever call that is."""
    drawn, kills = random.Random(9), 0
    for act in ("add", "release"):
        for _ in range(KILLS):
            kills += killed(act, corpus, drawn.uniform(0.5, 2.5))
            flags = [one.object_lock for one in look(corpus).head.holds]
            assert not bucket.locked() or flags == [True]
        acts[act](writer_of(corpus))
        assert bucket.locked_keys() == (needed(corpus, "ann") if act == "add" else set())
    assert look(corpus).head.holds == ()
    note(f"{kills} kills")


def killed(act: str, corpus: Reference, seconds: float) -> bool:
    """Run it in a process that is killed after so many seconds; False: it had ended before."""
    code = (
        "import sys; from securedata.corpus.config import resolve\n"
        "from tests.cloud.corpus.test_object_lock import acts; from tests.kit.corpora.rows import writer_of\n"
        "acts[sys.argv[1]](writer_of(resolve(sys.argv[2], None, None)))"
    )
    child = subprocess.Popen([sys.executable, "-c", code, act, str(corpus.name)], cwd=ROOT)
    try:
        assert child.wait(seconds) == 0
        return False
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait() == -signal.SIGKILL


acts: dict[str, Callable[[Writer], object]] = {
    "add": lambda writer: add_everywhere(writer, "ann", "7", **YES),
    "release": lambda writer: release_everywhere(writer, "7", subject="ann"),
}


# -------------------------------------------------------------------------------------------------------------- release


def test_release_from_another_machine_turns_them_off(
    corpus: Reference, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writer_of(corpus)
    add_everywhere(writer, "ann", "7", **YES)
    fill(writer, "ann/3")
    rotate_head(writer)  # another corpus key: the locked head is under the one before
    add_everywhere(writer, "ann", "7", **YES)
    heads = [one for one in bucket.locked() if one[0] == "head"]
    assert len(heads) == 2
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    count = len(bucket.locked())
    done, _ = release_everywhere(writer_of(corpus), "7", tag=tag(writer, "ann"))
    assert (done.changed, done.last, done.unlocked) == (True, True, count)
    assert (bucket.locked(), look(corpus).head.holds) == ([], ())
    assert bucket.delete_all() == set()


def test_a_release_begins_with_what_is_found_from_the_rest(corpus: Reference) -> None:
    """Once a part has no legal hold, it may be deleted, and then shows nobody which objects are locked."""
    add_everywhere(writer_of(corpus), "ann", "7", **YES)
    storage = Hooked(open_storage(corpus.root))
    release_everywhere(writer_of(corpus, storage), "7", subject="ann")
    turned = [key.partition("/")[0] for call, key in storage.calls if call in ("turn_off", "turn")]
    assert list(dict.fromkeys(turned)) == ["objects", "manifest", "head"]
    assert turned == sorted(turned, key=["objects", "manifest", "head"].index)


def test_what_another_hold_needs_stays_locked(corpus: Reference, bucket: Bucket) -> None:
    writer = writer_of(corpus)
    add_everywhere(writer, "ann", "7", **YES)
    add_everywhere(writer, "bob", "8", **YES)
    add_everywhere(writer, "bob", "9", **YES)
    add_everywhere(writer, "bob", "10")
    release_everywhere(writer, "7", subject="ann")
    storage, of_bob = open_storage(corpus.root), needed(corpus, "bob")
    assert bucket.locked_keys() == of_bob
    assert object_key(current(corpus)["both/1"]["object_id"]) in of_bob
    release_everywhere(writer, "8", subject="bob")
    assert bucket.locked_keys() == of_bob, "another case of the same person"
    for _, id in [one for one in bucket.locked() if one[0] == "head"]:
        head = open_head(bucket.read("head", id), "", corpus.root, open_all(corpus.kms)).head
        assert "bob/1" in rows_of(head, storage)
    release_everywhere(writer, "9", subject="bob")
    assert bucket.locked() == []
    assert [one.case for one in look(corpus).head.holds] == ["10"]


def test_a_hold_that_comes_during_a_release_keeps_what_it_needs(corpus: Reference, bucket: Bucket) -> None:
    add_everywhere(writer_of(corpus), "ann", "7", **YES)
    came = False

    def come(call: str, key: str) -> None:
        nonlocal came
        if call == "turn_off" and not came:  # what is to be turned off is decided
            came = True
            add_everywhere(writer_of(corpus), "bob", "8", **YES)

    release_everywhere(writer_of(corpus, Hooked(open_storage(corpus.root), come)), "7", subject="ann")
    assert came
    assert bucket.locked_keys() >= needed(corpus, "bob")
    release_everywhere(writer_of(corpus), "8", subject="bob")
    assert bucket.locked() == []


def test_a_release_during_an_add_is_heard_of_and_can_be_repeated(corpus: Reference, bucket: Bucket) -> None:
    def come(call: str, key: str) -> None:
        if call == "turn_on" and key.startswith("objects/") and look(corpus).head.holds:
            release_everywhere(writer_of(corpus), "7", subject="ann")

    with pytest.raises(NoSuchHold, match=r"was released meanwhile; .* run 'securedata hold release' again"):
        add_everywhere(writer_of(corpus, Hooked(open_storage(corpus.root), come)), "ann", "7", **YES)
    assert bucket.locked() != []
    done, _ = release_everywhere(writer_of(corpus), "7", subject="ann")
    assert (done.changed, done.unlocked > 0) == (False, True)
    assert bucket.locked() == []


def test_legal_holds_of_others_are_left_alone(corpus: Reference, bucket: Bucket) -> None:
    writer = writer_of(corpus)
    key = object_key(current(corpus)["bob/1"]["object_id"])
    mine = [next(one for one in bucket.versions() if one[0] == name) for name in ("head", key)]
    for one in mine:
        bucket.turn(*one, "ON")
    add_everywhere(writer, "ann", "7", **YES)
    release_everywhere(writer, "7", subject="ann")
    assert sorted(bucket.locked()) == sorted(mine)


def test_a_locked_head_that_cannot_be_opened_stops_a_release(corpus: Reference, bucket: Bucket, tmp_path: Path) -> None:
    """What it keeps cannot be told, so nothing is turned off by guess."""
    writer = writer_of(corpus)
    add_everywhere(writer, "ann", "7", **YES)
    [head] = [one for one in bucket.locked() if one[0] == "head"]
    create_key_file(tmp_path / "another.kek")
    [another] = open_all([uri_for(tmp_path / "another.kek")])
    add_wrap(writer, another)
    rotate_head(writer_of(replace(corpus, kms=(*corpus.kms, another.uri))), [writer.head.wraps[0].uri])
    locked = bucket.locked()
    renewed = writer_of(replace(corpus, kms=(another.uri,)))
    with pytest.raises(NoTrustedKey, match=r"of the head, which has a legal hold, .* with the tools of your storage"):
        release_everywhere(renewed, "7", subject="ann")
    assert (bucket.locked(), len(renewed.refresh().holds)) == (locked, 1)
    bucket.turn(*head, "OFF")  # as the text says
    done, _ = release_everywhere(renewed, "7", subject="ann")
    assert (done.unlocked, bucket.locked()) == (len(locked) - 1, [])


def test_a_locked_head_of_another_corpus_stops_a_release(corpus: Reference, bucket: Bucket) -> None:
    writer = writer_of(corpus)
    add_everywhere(writer, "ann", "7", **YES)
    other = make(root=f"{corpus.root}-other", name="other")
    mine, strange = (open_storage(one.root).get("head") for one in (corpus, other))
    [junk, _] = [bucket.put("head", data) for data in (strange, mine)]
    bucket.turn("head", junk, "ON")
    with pytest.raises(PinMismatch, match=f"this is version {junk} of the head"):
        release_everywhere(writer, "7", subject="ann")
    assert ("head", junk) in bucket.locked()
    assert len(bucket.locked()) > 2


# -------------------------------------------------------------------------------------------------------- erasures, due


def test_an_erasure_of_another_person_says_what_remains(corpus: Reference, bucket: Bucket) -> None:
    make_operator("example.com/erasure")
    writer = writer_of(corpus)
    fill(writer, "cid/1", subjects=["cid"])
    add_everywhere(writer, "ann", "7", **YES)
    locked, generation = bucket.locked(), writer.head.generation
    with pytest.raises(DeleteRefused, match=r"for case 7, legal holds .* nothing was erased: .* --partial"):
        erase(writer, Request("subject", names=("cid",)))
    assert (writer.refresh().generation, writer.head.erasures) == (generation, ())
    done = erase(writer, Request("subject", names=("ann",)))
    assert (done.receipt, done.commit.restricted) == (None, 1), "a request that meets the hold is recorded all the same"
    erased = erase(writer, Request("subject", names=("cid",)), Options(partial=True))
    assert erased.receipt is not None
    assert all(one.startswith("old versions remain: ") for one in erased.receipt.levels)
    assert set(locked) <= set(bucket.locked())
    release_everywhere(writer, "7", subject="ann")
    erased = erase(writer, Request("subject", names=("ann",)))
    assert erased.receipt is not None
    assert erased.receipt.levels == ("deleted where visible",)
    assert [one for one in bucket.versions() if one in locked] == [], "also what the erasure before had to leave"


def test_it_is_refused_before_derived_corpora_are_erased(corpus: Reference, prefix: str) -> None:
    make_operator("example.com/erasure")
    derived = make(root=f"s3://voice/{prefix}-derived", name=f"{prefix}-derived")
    write_entry(str(derived.name), derived)
    fill(writer_of(derived), "cid/1.npy", subjects=["cid"])
    writer = writer_of(corpus)
    fill(writer, "cid/1", subjects=["cid"])
    register_derived(writer, look(derived).head)
    add_everywhere(writer, "ann", "7", **YES)
    before = look(derived).head
    with pytest.raises(DeleteRefused, match="for case 7, legal holds"):
        erase(writer, Request("subject", names=("cid",)))
    assert look(derived).head == before


def test_legal_holds_that_come_meanwhile_stop_an_erasure_too(corpus: Reference) -> None:
    make_operator("example.com/erasure")
    fill(writer_of(corpus), "cid/1", subjects=["cid"])
    came = False

    def come(call: str, key: str) -> None:
        nonlocal came
        if call == "replace" and not came:  # the erasing commit was planned under a head without the hold
            came = True
            add_everywhere(writer_of(corpus), "ann", "7", **YES)

    writer = writer_of(corpus, Hooked(open_storage(corpus.root), come))
    with pytest.raises(DeleteRefused, match="for case 7, legal holds"):
        erase(writer, Request("subject", names=("cid",)))
    assert came
    assert "cid/1" in current(corpus)
    assert look(corpus).head.erasures == ()


def test_a_locked_part_stops_no_other_deletion_that_is_due(
    corpus: Reference, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writer_of(corpus)
    add(writer, {"ann/4": content("ann/4"), "bob/4": content("bob/4")})
    add_everywhere(writer, "ann", "7", **YES)
    shared = object_key(current(corpus)["bob/4"]["object_id"])
    writer.commit(remove=["bob/4"])  # which leaves a locked part, and an object that is not locked
    fill(writer, "eve/1", subjects=["eve"])
    gone = object_key(current(corpus)["eve/1"]["object_id"])
    writer.commit(remove=["eve/1"])
    monkeypatch.setattr("securedata.corpus.state.retired.DELAY", 0.0)
    fill(writer, "cid/1", subjects=["cid"])
    assert gone not in {key for key, _ in bucket.versions()}
    assert list(look(corpus).head.retired), "the list with a locked part waits"
    release_everywhere(writer, "7", subject="ann")
    fill(writer, "cid/2", subjects=["cid"])
    assert look(corpus).head.retired == ()
    assert shared not in {key for key, _ in bucket.versions()}


# ------------------------------------------------------------------------------------------------------ derived corpora


def test_derived_corpora_are_locked_where_their_bucket_can(
    admin: Seaweed, corpus: Reference, bucket: Bucket, prefix: str
) -> None:
    pins = []
    for name, place in (("locked", BUCKET), ("open", "voice")):
        derived = make(root=f"s3://{place}/{prefix}-{name}", name=f"{prefix}-{name}")
        writer = writer_of(derived)
        fill(writer, "ann/1.npy")
        register_derived(writer_of(corpus), writer.head)
        write_entry(f"{prefix}-{name}", derived)
        pins.append(derived)
    done, reached = add_everywhere(writer_of(corpus), "ann", "7", **YES)
    assert done.locked is not None
    assert reached.reached == tuple(str(one.pins[0]) for one in pins)
    assert done.unlocked == (str(pins[1].pins[0]),)
    locked, unlocked = pins
    assert [one.object_lock for one in look(locked).head.holds] == [True]
    assert Bucket(admin, locked).locked_keys() == needed(locked, "ann")
    assert [one.object_lock for one in look(unlocked).head.holds] == [False]
    release_everywhere(writer_of(corpus), "7", subject="ann")
    assert (Bucket(admin, locked).locked(), look(locked).head.holds, look(unlocked).head.holds) == ([], (), ())


def test_the_functions_below_take_the_same_hold(corpus: Reference) -> None:
    writer = writer_of(corpus)
    assert add_hold(writer, "ann", "7", object_lock=True).object_lock
    assert release_hold(writer, "7", subject="ann").unlocked == 0
    assert isinstance(open_storage(corpus.root), S3Storage)
