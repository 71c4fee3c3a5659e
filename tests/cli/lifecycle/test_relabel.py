"""`securedata relabel`, as people and scripts use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from securedata.corpus.writer import Writer
from securedata.lifecycle.derived import register_derived
from tests.cli.lifecycle.test_remove import hold
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import current
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import clip


def rows(root: Root) -> dict[str, dict[str, object]]:
    columns = ("path", "subjects", "speaker", "transcript", "consent_id", "purposes", "expires")
    return {path: {name: one[name] for name in columns} for path, one in current(root.reference).items()}


def file(tmp_path: Path, text: str, name: str = "t.csv") -> Path:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_a_table(run: Run, root: Root, tmp_path: Path) -> None:
    text = "path,text,subjects,Consent ID,purposes,expires\n"
    text += "ann/utt0.wav,guten Tag,,C1,asr; tts,2030-01-31\nann/utt1.flac,,ben,,[],\n"
    table = file(tmp_path, text)
    before = rows(root)
    said = run("relabel", root.name, table, "--dry-run")
    counts = "2 recordings: subjects of 1, speaker of 1, transcript of 1, consent_id of 1, purposes of 2, expires of 1"
    assert said.code == 0
    assert said.out.splitlines()[0] == f"would correct {counts}"
    assert "  ann/utt0.wav: transcript 'good morning' -> 'guten Tag'" in said.out.splitlines()
    assert rows(root) == before
    done = run("relabel", root.name, table)
    assert (done.code, done.out, done.err) == (0, f"corrected {counts}\n", "")
    after = rows(root)
    one = after["ann/utt0.wav"]
    assert [one[name] for name in ("transcript", "subjects", "consent_id", "purposes")] == [
        "guten Tag",
        ["ann"],
        "C1",
        ["asr", "tts"],
    ]
    assert str(one["expires"]) == "2030-01-31 23:59:59.999999+00:00"
    assert [after["ann/utt1.flac"][name] for name in ("subjects", "speaker", "purposes")] == [["ben"], "ben", []]
    again = run("relabel", root.name, table, "--json")
    assert (again.code, again.json["rows"], again.json["unchanged"]) == (0, 0, 2)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.csv", "path,size\na,3\n", "t.csv, line 2: unknown column 'size': choose among path, subjects, speaker, "),
        ("t.csv", "path,offset\na,3\n", "unknown column 'offset'"),
        ("t.csv", "path,text\n", "t.csv has no rows"),
        ("t.csv", "path,text\nann/utt0.wav,\n", "the table corrects nothing"),
        ("t.csv", "path,text\nann/utt0.wav,a\nann/utt0.wav,b\n", "line 3 names a path for the second time"),
        ("t.csv", "path,text,sentence\nann/utt0.wav,a,b\n", "line 2 has two columns for transcript"),
        ("t.csv", "path,expires\nann/utt0.wav,31.1.2030\n", "its expires is not a date or time such as 2027-12-31"),
        ("t.jsonl", '{"path": "a", "split": ["x"]}\n', "t.jsonl, line 1, column 'split': a list where text belongs"),
        ("t.txt", "ann/utt0.wav\n", "a table must have one of the suffixes .csv"),
        ("t.csv", "path,speaker\nann/utt0.wav,ben\n", "'subjects'"),
    ],
)
def test_a_table_that_is_none(run: Run, root: Root, tmp_path: Path, name: str, text: str, words: str) -> None:
    before = rows(root)
    done = run("relabel", root.name, file(tmp_path, text, name))
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert rows(root) == before


def test_rows_that_share_an_object(run: Run, tmp_path: Path) -> None:
    root = make_corpus(tmp_path, [clip("talk.wav", 1.0, segments=[(0, 4000), (4000, 4000)])])
    done = run("relabel", root.name, file(tmp_path, "path,subjects\ntalk@0-4000.wav,ben\n"))
    assert (done.code, done.out) == (1, "")
    assert "rows to add to the table, with these people (1):\n  talk@4000-8000.wav\n" in done.err
    assert "'securedata split' then gives each segment an object of its own" in done.error
    table = file(tmp_path, "path,subjects\ntalk@0-4000.wav,ben\ntalk@4000-8000.wav,ben\n")
    assert run("relabel", root.name, table).out == "corrected 2 recordings: subjects of 2, speaker of 2\n"


def test_exit_codes(run: Run, root: Root, tmp_path: Path) -> None:
    hold(root, "bob")
    table = file(tmp_path, "path,split\nann/utt0.wav,dev\nbob/utt0.wav,dev\n")
    done = run("relabel", root.name, table)
    assert (done.code, done.out) == (3, "corrected 1 recording: split of 1\n")
    assert "under a hold, left as they are (1):\n  bob/utt0.wav\n" in done.err
    done = run("relabel", root.name, file(tmp_path, "path,split\nann/utt9.wav,dev\n"))
    assert done.code == 1
    assert done.error.endswith("[ann/utt9.wav]")


def test_corpora_made_from_it_keep_the_old_words(run: Run, root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path, [], "features")
    register_derived(Writer(root.reference), Writer(other.reference).head)
    table = file(tmp_path, "path,subjects\nann/utt0.wav,ben\n")
    said = run("relabel", root.name, table)
    assert (said.code, other.pin in said.err, "run 'securedata retain' or 'export" in said.err) == (0, True, True)
    assert other.pin not in run("relabel", root.name, table).err, "nothing was changed"
    table = file(tmp_path, "path,subjects\nann/utt0.wav,ann\n")
    assert run("relabel", root.name, table, "--json").json["derived"] == [other.pin]
