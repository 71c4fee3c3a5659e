"""What can be published of a corpus, and the Croissant file."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

import securedata as sd
from securedata.corpus.config import Reference
from securedata.corpus.state.commit import Next
from securedata.corpus.state.head import Tombstone
from securedata.corpus.state.lifecycle import Hold, Restriction
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument
from securedata.keys.tags import Tagger
from securedata.lifecycle.people.groups import Group
from securedata.lifecycle.retention import set_rule
from securedata.testing.memory import MemoryStorage
from tests.lifecycle.people.test_listing import add, day

WORDS = {
    "license": "https://example.com/licence",
    "url": "https://example.com/voice",
    "creator": "Example Labs",
}
GIVEN = {*WORDS, "name"}


def fill(writer: Writer) -> None:
    english = {"language": "en", "split": "train", "speaker": "ann"}
    add(writer, "ann/a", ["ann"], consent_id="C-ann", purposes=["tts", "asr"], expires=day(9), **english)
    add(writer, "ann/b", ["ann"], consent_id="C-ann", purposes=["asr"], expires=day(-1), **english)
    add(writer, "bob/c", ["bob", "ann", "bob"], split="Ann", speaker="bobby", frames=8_000)
    add(writer, "bob/e", ["bob"], split="Bobby", purposes=["asr", "asr"])
    add(writer, "cid/d", ["cid"], purposes=[], language="de", split="train")
    add(writer, "eve/f", ["eve"], purposes=["asr"], expires=day(-1))


def restrict(writer: Writer) -> None:
    eve, gone = map(Tagger(writer.head.secret).tag, ("eve", "gone"))
    members = {
        "holds": (Hold(eve, "case-eve", 1.0), Hold(eve, "8", 1.0)),
        "restricted": (Restriction(eve, "R-eve", "", 1.0), Restriction(eve, "R2", "", 1.0)),
        "tombstones": (Tombstone(gone, 3),),
        "receipts": ({"id": "0" * 32, "digest": "0" * 64, "time": 1.0},),
    }
    writer.transact(lambda attempt: Next(None, members))


def described(groups: tuple[Group, ...]) -> dict[str, tuple[int, float, int]]:
    return {one.value: (one.rows, one.seconds, one.people) for one in groups}


def test_the_counts(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    restrict(writer)
    set_rule(writer, raw=30 * 24 * 3600)
    found = sd.public_report(corpus, storage=place)
    assert (found.people, found.rows, found.seconds) == (4, 6, 11.0)
    assert described(found.languages) == {"": (3, 5.0, 3), "de": (1, 2.0, 1), "en": (2, 4.0, 1)}
    assert described(found.splits) == {"": (1, 2.0, 1), "(withheld)": (2, 3.0, 2), "train": (3, 6.0, 2)}
    assert described(found.formats) == {"WAV": (6, 11.0, 4)}
    assert described(found.consent) == {
        "for a purpose": (2, 4.0, 2),
        "no purpose recorded": (1, 1.0, 2),
        "withdrawn": (1, 2.0, 1),
        "ended": (1, 2.0, 1),
        "restricted": (1, 2.0, 1),
    }
    assert described(found.purposes) == {"asr": (4, 8.0, 3), "tts": (1, 2.0, 1)}
    assert (found.held, found.restricted, found.erased, found.erasures) == (1, 1, 1, 1)
    assert (found.unfinished, found.derived, found.retention) == (0, 0, {"raw": "30d"})
    assert (found.pin, found.generation) == (str(writer.head.pin), writer.head.generation)
    assert str(found) == f"4 people, 6 rows, 11.00 s of audio on {found.day}"


def test_an_empty_corpus(corpus: Reference, place: MemoryStorage, tmp_path: Path) -> None:
    found = sd.public_report(corpus, croissant=tmp_path / "c.json", **WORDS, storage=place)
    assert (found.people, found.rows, found.languages, found.consent, found.purposes) == (0, 0, (), (), ())
    assert [one["@id"] for one in json.loads((tmp_path / "c.json").read_text())["recordSet"]] == ["recordings"]


def croissant(corpus: Reference, place: MemoryStorage, file: Path, **words: Any) -> dict[str, Any]:
    sd.public_report(corpus, croissant=file, **{**WORDS, **words}, storage=place)
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def test_it_names_nobody(corpus: Reference, place: MemoryStorage, writer: Writer, tmp_path: Path) -> None:
    fill(writer)
    restrict(writer)
    croissant(corpus, place, tmp_path / "c.json", title="a corpus")
    report = sd.public_report(corpus, storage=place)
    text = f"{(tmp_path / 'c.json').read_text()} {report!r} {report}"
    private = ["ann", "Ann", "bob", "Bobby", "cid", "eve", "C-ann", "case-eve", "R-eve", "memory", str(tmp_path)]
    assert [one for one in private if re.search(rf"\b{one}\b", text)] == []


REQUIRED = {
    *("@context", "@type", "conformsTo", "description", "license", "name", "url", "creator", "datePublished"),
    "distribution",
}
"""What Croissant 1.1 requires of a dataset."""


def test_it_has_what_croissant_requires(
    corpus: Reference, place: MemoryStorage, writer: Writer, tmp_path: Path
) -> None:
    """By hand, `mlcroissant` 1.1.1 finds no error in such a file, and reads the records in it."""
    fill(writer)
    set_rule(writer, raw=30 * 24 * 3600)
    found = croissant(corpus, place, tmp_path / "c.json")
    assert set(found) >= REQUIRED
    assert found["@type"] == "sc:Dataset"
    assert found["conformsTo"] == ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
    assert (found["name"], found["license"], found["url"]) == ("corpus", WORDS["license"], WORDS["url"])
    assert found["creator"] == {"@type": "sc:Organization", "name": "Example Labs"}
    assert (found["isLiveDataset"], found["inLanguage"]) == (True, ["de", "en"])
    assert found["rai:dataReleaseMaintenancePlan"].startswith("Retention: raw 30d.")
    assert found["rai:dataUseCases"] == ["Consented purpose: asr", "Consented purpose: tts"]
    file, files = found["distribution"]
    assert (file["@type"], file["contentUrl"], file["encodingFormat"]) == (
        "cr:FileObject",
        WORDS["url"],
        "application/octet-stream",
    )
    assert (files["@type"], files["containedIn"], files["encodingFormat"], files["includes"]) == (
        "cr:FileSet",
        {"@id": file["@id"]},
        ["audio/wav"],
        "**",
    )
    ids = [file["@id"], files["@id"]]
    for one in found["recordSet"]:
        names = [each["@id"] for each in one["field"]]
        ids += [one["@id"], *names]
        assert one["@type"] == "cr:RecordSet"
        assert all(each["@type"] == "cr:Field" and each["dataType"].startswith("sc:") for each in one["field"])
        assert all(each["@id"].startswith(one["@id"] + "/") for each in one["field"])
        assert all(list(record) == names for record in one.get("data", ()))
    assert len(set(ids)) == len(ids), "an id is there twice"
    assert found["recordSet"][0]["field"][0]["source"]["fileSet"] == {"@id": files["@id"]}
    assert [one["@id"] for one in found["recordSet"][1:]] == ["languages", "splits", "formats", "consent", "purposes"]
    known = set(found["@context"])
    used = {key for key in _keys(found) if not key.startswith("@") and ":" not in key and "/" not in key}
    vocabulary = {"name", "description", "license", "url", "creator", "datePublished", "version", "inLanguage"}
    vocabulary |= {"distribution", "contentUrl", "encodingFormat"}
    assert used - known - vocabulary == set(), "terms that are neither Croissant's nor schema.org's"


def _keys(value: Any) -> set[str]:
    if isinstance(value, list):
        return {key for one in value for key in _keys(one)}
    if not isinstance(value, dict):
        return set()
    return {key for name, one in value.items() if name != "@context" for key in {name, *_keys(one)}}


@pytest.mark.parametrize("name", ["license", "url", "creator"])
def test_what_the_corpus_does_not_know_must_be_given(
    corpus: Reference, place: MemoryStorage, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InvalidArgument, match=rf"must have {name}, .* --{name}|--{name}\)"):
        croissant(corpus, place, tmp_path / "c.json", **{name: None})
    with pytest.raises(InvalidArgument, match="croissant="):
        sd.public_report(corpus, **{name: "x"}, storage=place)
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"license": "CC"},
        {"url": "s3://bucket/voice"},
        {"url": "https://me:pass@example.com"},
        {"url": "https:///x"},
        {"creator": "a\nb"},
        {"creator": 7},
        {"title": "x" * 1001},
        {"creator": "ANN"},
        {"title": "bobby"},
    ],
)
def test_bad_words(
    corpus: Reference, place: MemoryStorage, writer: Writer, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    fill(writer)
    with pytest.raises(InvalidArgument) as caught:
        croissant(corpus, place, tmp_path / "c.json", **wrong)
    assert not (tmp_path / "c.json").exists()
    assert [one for one in ("ANN", "bobby", "pass@") if one in str(caught.value)] == []


def test_an_earlier_one_is_replaced_and_nothing_else(
    corpus: Reference, place: MemoryStorage, writer: Writer, tmp_path: Path
) -> None:
    file = tmp_path / "c.json"
    assert croissant(corpus, place, file)["version"] == "1.0.0"
    fill(writer)
    assert croissant(corpus, place, file)["version"] == f"{writer.head.generation}.0.0"
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    others = {"text": b"mine", "json": b"{}", "list": b"[1]", "deep": b"[" * 100_000, "other": b'{"conformsTo": "x"}'}
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
    for name in (*others, "fifo", "folder"):
        with pytest.raises(InvalidArgument, match="another file"):
            croissant(corpus, place, tmp_path / name)
    assert {name: (tmp_path / name).read_bytes() for name in others} == others
    assert len(os.listdir(tmp_path)) >= 3 + len(others)
    assert [name for name in os.listdir(tmp_path) if ".tmp-" in name] == []
