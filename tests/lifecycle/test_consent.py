"""Consent is withdrawn from rows, a purpose is required, and consents are listed."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.opening import open_manifest
from securedata.corpus.state.commit import Next
from securedata.corpus.state.lifecycle import Hold
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, PurposeRequired
from securedata.keys.tags import Tagger
from securedata.lifecycle.consent import LISTED, consents_of, require_purpose, withdraw
from securedata.testing.memory import MemoryStorage
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import current, open_quietly
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.corpora.rows import content, row, table, writer_of
from tests.kit.hooked import Hooked
from tests.kit.sources.recordings import clip

ROWS: dict[str, dict[str, Any]] = {
    "ann/0": {"consent_id": "A", "purposes": ["asr", "tts"]},
    "ann/1": {"consent_id": "A", "purposes": ["tts"]},
    "ann/2": {"consent_id": "A"},
    "bob/0": {"consent_id": "B", "purposes": ["asr", "tts"]},
    "cid/0": {"purposes": ["tts"]},
}


def add(writer: Writer, *paths: str) -> None:
    rows = []
    for path in paths:
        said = ROWS.get(path, {"consent_id": "A"})
        rows.append(row(writer, path, content(path), [path[:3]], frames=8_000, sample_rate=8_000, **said))
    writer.commit(table(*rows))


def fill(writer: Writer) -> None:
    add(writer, "ann/0", "bob/0")
    add(writer, "ann/1", "ann/2", "cid/0")


def purposes(corpus: Reference, place: MemoryStorage) -> dict[str, Any]:
    return {path: one["purposes"] for path, one in sorted(current(corpus, place).items())}


BEFORE = {"ann/0": ["asr", "tts"], "ann/1": ["tts"], "ann/2": None, "bob/0": ["asr", "tts"], "cid/0": ["tts"]}


def test_one_purpose_is_withdrawn(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    before = current(corpus, place)
    done = withdraw(writer, "A", "tts")
    assert (done.rows, done.changed, done.closed, done.held) == (3, 2, 1, [])
    assert purposes(corpus, place) == {**BEFORE, "ann/0": ["asr"], "ann/1": []}
    after = current(corpus, place)
    for path, one in before.items():
        assert {**one, "purposes": 0} == {**after[path], "purposes": 0}, "nothing else changed"
    assert sorted(open_quietly(corpus, place, purpose="tts").table.column("path").to_pylist()) == ["bob/0", "cid/0"]
    generation = writer.head.generation
    again = withdraw(writer, "A", "tts")
    assert (again.rows, again.changed, again.closed, again.generation) == (3, 0, 0, generation)


def test_all_purposes_are_withdrawn(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    done = withdraw(writer, "A")
    assert (done.rows, done.changed, done.closed) == (3, 3, 3)
    assert purposes(corpus, place) == {**BEFORE, "ann/0": [], "ann/1": [], "ann/2": []}
    opened = open_quietly(corpus, place)
    assert sorted(opened.table.column("path").to_pylist()) == ["bob/0", "cid/0"]
    assert withdraw(writer, "A").changed == 0


def test_a_consent_that_is_not_there_is_an_error(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    objects = dict(place.objects)
    with pytest.raises(InvalidArgument, match="no recording of memory://corpus has this consent"):
        withdraw(writer, "a")
    with pytest.raises(InvalidArgument, match="a purpose is a text"):
        withdraw(writer, "A", "a;b")
    assert place.objects == objects


def test_rows_are_chosen_again_at_every_try(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    other = writer_of(corpus, place)
    todo = ["add", "replace"]

    def meanwhile(call: str, key: str) -> None:
        if (call, key) == ("replace", "head") and todo:
            if todo.pop(0) == "add":
                add(other, "ann/3")
            else:
                new = row(other, "ann/0", b"new", ["ann"], consent_id="C", purposes=["tts"])
                other.commit(table(new), replace=True)

    done = withdraw(writer_of(corpus, Hooked(place, meanwhile)), "A")
    assert not todo
    assert (done.rows, done.changed, done.closed) == (3, 3, 3)
    assert purposes(corpus, place) == {**BEFORE, "ann/0": ["tts"], "ann/1": [], "ann/2": [], "ann/3": []}


def test_held_people_stay_as_they_are(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    add(writer, "bob/1")
    tag = Tagger(writer.head.secret).tag("bob")
    writer.transact(lambda attempt: Next(None, {"holds": (Hold(tag, "case", 1.0),)}))
    done = withdraw(writer, "A")
    assert (done.rows, done.changed, done.closed, done.held) == (4, 3, 3, ["bob/1"])
    assert purposes(corpus, place)["bob/1"] is None


def test_a_purpose_is_required_and_no_longer(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    assert require_purpose(writer).changed
    assert not require_purpose(writer).changed
    with pytest.raises(PurposeRequired):
        open_quietly(corpus, place)
    assert len(open_quietly(corpus, place, purpose="tts")) == 4
    assert require_purpose(writer, required=False).changed
    assert not require_purpose(writer, required=False).changed
    assert len(open_quietly(corpus, place)) == 5


def test_consents_are_listed(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    now = time.time()
    ends = [datetime.datetime.fromtimestamp(now + days * 86_400, datetime.UTC) for days in (-1, 3)]
    for number, end in enumerate(ends):
        said = {"consent_id": "B", "expires": end, "purposes": []}
        writer.commit(table(row(writer, f"eve/{number}", content(f"eve/{number}"), ["eve", "ann"], **said)))
    with open_manifest(corpus, columns=LISTED, storage=place) as opened:
        a, b, none = consents_of(opened, now)
    assert (a.consent_id, a.rows, a.seconds, a.people) == ("A", 3, 3.0, 1)
    assert (a.purposes, a.unrecorded, a.withdrawn) == ({"asr": 1, "tts": 2}, 1, 0)
    assert (a.first_end, a.last_end, a.endless, a.expired) == (None, None, 3, 0)
    assert (b.consent_id, b.rows, b.seconds, b.people) == ("B", 3, 1.0, 3)
    assert (b.purposes, b.unrecorded, b.withdrawn) == ({"asr": 1, "tts": 1}, 0, 2)
    assert (b.endless, b.expired) == (1, 1)
    assert (b.first_end, b.last_end) == pytest.approx([one.timestamp() for one in ends])
    assert (none.consent_id, none.rows, none.purposes) == (None, 1, {"tts": 1})


# -------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def root(tmp_path: Path) -> Root:
    end = datetime.datetime(2999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
    return make_corpus(
        tmp_path,
        [
            clip("ann/0.wav", 0.5, consent_id="A", purposes=["asr", "tts"], expires=end),
            clip("ann/1.wav", 0.5, seed=1, consent_id="A", purposes=["asr"]),
            clip("bob/0.wav", 0.5, seed=2, speaker="bob"),
        ],
    )


def test_the_command(root: Root, run: Run) -> None:
    shown = run("consent", "list", root).out.splitlines()
    assert shown[1].split() == ["A", "2", "1.00", "s", "asr", "2,", "tts", "1", "2999-12-31T23:59:59Z,", "never", "1"]
    assert shown[2].split() == ["(no", "id)", "1", "0.50", "s", "none", "recorded", "1", "never"]
    done = run("consent", "withdraw", root, "--consent", "A", "--purpose", "tts")
    assert (done.code, done.out) == (0, "the purpose 'tts' withdrawn from 1 of 2 recordings of this consent\n")
    assert "brings it back: correct the source" in done.err
    done = run("consent", "withdraw", root, "--consent", "A", "--purpose", "tts")
    assert (done.code, done.out) == (0, "nothing to do: 2 recordings of this consent, none with the purpose 'tts'\n")
    assert not done.err
    done = run("consent", "withdraw", root, "--consent", "A")
    left = "all purposes withdrawn from 2 of 2 recordings of this consent; 2 of them open for nobody now\n"
    assert (done.code, done.out) == (0, left)
    assert [one["withdrawn"] for one in run("consent", "list", root, "--json").json] == [2, 0]


def test_the_command_erases_too(root: Root, run: Run) -> None:
    done = run("consent", "withdraw", root, "--consent", "A", "--erase")
    assert (done.code, done.out.count("withdrawn"), "operator init" in done.error) == (1, 1, True)
    assert run("operator", "init", "--name", "example.com/erasure").code == 0
    done = run("consent", "withdraw", root, "--consent", "A", "--erase", "--json")
    assert (done.code, done.json["rows"]) == (0, 2)
    assert [one["consent_id"] for one in run("consent", "list", root, "--json").json] == [None]


def test_the_command_requires_a_purpose(root: Root, run: Run) -> None:
    done = run("consent", "require", root)
    assert (done.code, done.out) == (0, f"{root} opens only with a purpose named, from generation 3\n")
    assert "an older one refuses the corpus" in done.err
    assert not run("consent", "require", root, "--json").json["changed"]
    refused = run("ls", root)
    assert (refused.code, "opens only with a purpose" in refused.error) == (1, True)
    assert run("ls", root, "-R", "--purpose", "asr", "--json").json[1]["path"] == "ann/1.wav"
    assert run("info", root, "--json").json["recordings"] == 3
    assert run("consent", "require", root, "--off").out == f"{root} opens without a purpose, too, from generation 4\n"
    assert run("ls", root).code == 0


@pytest.mark.parametrize(
    "wrong",
    [
        ("withdraw",),
        ("withdraw", "--consent", "A", "--purpose", "asr", "--erase"),
        ("withdraw", "--consent", "A", "--off"),
        ("require", "--purpose", "asr"),
        ("list", "--consent", "A"),
        ("withdraw", "--consent", "no such"),
        ("withdraw", "--consent", "A", "--purpose", ""),
    ],
)
def test_wrong_calls(root: Root, run: Run, wrong: tuple[str, ...]) -> None:
    action, *options = wrong
    assert run("consent", action, root, *options).code == 2
