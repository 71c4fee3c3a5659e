"""Texts beside recordings with the marks that editors, spreadsheets and other systems leave in them."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from securedata.errors import InvalidArgument
from securedata.ingest.sources.manifest_reader import read_rows
from securedata.ingest.sources.recordings import list_sources
from securedata.ingest.sources.texts import NoText, lines_of, spellings, text_of
from tests.kit.cli.commandline import Run, runner
from tests.kit.sources.folders import by_path, column, record, touch

FIRST, SECOND = "yes/0a7c2a8d_nohash_0.wav", "yes/1a2b3c4d_nohash_0.wav"

NAMES: dict[str, Callable[[str], str]] = {
    "as it is": lambda name: name,
    "byte order mark": lambda name: f"\ufeff{name}",
    "blank behind": lambda name: f"{name} ",
    "blank before": lambda name: f"  {name}",
    "tab behind": lambda name: f"{name}\t",
    "no-break space": lambda name: f"{name}\u00a0",
    "zero-width space": lambda name: f"{name}\u200b",
    "dot and slash": lambda name: f"./{name}",
    "two slashes": lambda name: name.replace("/", "//"),
    "up and down": lambda name: f"other/../{name}",
    "backslashes": lambda name: name.replace("/", "\\"),
    "dot and backslash": lambda name: ".\\" + name.replace("/", "\\"),
    "quotes": lambda name: f'"{name}"',
    "single quotes": lambda name: f"'{name}'",
}
ENDS = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}


# ------------------------------------------------------------------------------------------------------ the one reader


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "BOM"])
def test_lines(end: str, mark: str) -> None:
    text = f"{mark}a b {end}{end}  c{end} \t {end}d\u2028e{end}f"
    assert list(lines_of(text.encode())) == [(1, "a b"), (3, "c"), (5, "d\u2028e"), (6, "f")]


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_other_codings_are_named(coding: str) -> None:
    with pytest.raises(NoText, match="UTF-8"):
        text_of("a.wav Größe\n".encode(coding))


def test_a_name_is_tried_as_it_is_written_first() -> None:
    assert next(spellings("a .wav ")) == "a .wav "
    decomposed = unicodedata.normalize("NFD", "é.wav")
    assert next(spellings(decomposed)) == "é.wav"
    assert list(spellings("file:///a%20b/c.wav"))[1:] == ["/a%20b/c.wav", "/a b/c.wav"]
    assert list(spellings("file://localhost/a.wav"))[1:] == ["/a.wav", "/a.wav"]
    assert list(spellings("s3://bucket//x/./a.wav"))[1:] == ["s3://bucket/x/a.wav"]


# -------------------------------------------------------------------------------------------------------- split lists


def commands(root: Path, validation: bytes, testing: bytes = b"") -> Path:
    touch(root, FIRST, SECOND)
    (root / "validation_list.txt").write_bytes(validation)
    (root / "testing_list.txt").write_bytes(testing)
    return root


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("how", NAMES)
def test_a_split_list(tmp_path: Path, how: str, end: str) -> None:
    sources = list_sources(commands(tmp_path, f"{NAMES[how](FIRST)}{end}{end}".encode()))
    assert by_path(sources, "split") == {FIRST: "validation", SECOND: "training"}
    assert not sources.problems


def test_lines_that_name_no_recording_are_one_problem_that_counts(tmp_path: Path) -> None:
    text = f"yes/gone_nohash_0.wav\n{FIRST}\nYES/0a7c2a8d_nohash_0.wav\n"
    sources = list_sources(commands(tmp_path, text.encode()))
    [problem] = sources.problems
    assert (problem.path, problem.taken) == ("validation_list.txt", False)
    assert problem.reason == (
        "2 lines name no recording that is taken from SRC; the first is line 1, 'yes/gone_nohash_0.wav'"
    )
    assert by_path(sources, "split")[FIRST] == "validation"


def test_a_recording_on_both_lists(tmp_path: Path) -> None:
    sources = list_sources(commands(tmp_path, FIRST.encode(), FIRST.encode()))
    [problem] = sources.problems
    assert (problem.path, problem.taken) == ("validation_list.txt", False)
    assert problem.reason.startswith("line 1 names a recording that the other list already names: ")
    assert by_path(sources, "split")[FIRST] == "testing"


@pytest.mark.parametrize("broken", ["utf-16", "nul", "link"])
@pytest.mark.parametrize("name", ["validation_list.txt", "testing_list.txt"])
def test_a_list_that_cannot_be_read_makes_nothing_training(tmp_path: Path, name: str, broken: str) -> None:
    src = commands(tmp_path / "src", SECOND.encode(), b"")
    Path(src / "testing_list.txt").write_bytes(b"")
    path = src / name
    if broken == "link":
        path.unlink()
        path.symlink_to(tmp_path / "gone")
    else:
        path.write_bytes(FIRST.encode("utf-16") if broken == "utf-16" else FIRST.encode() + b"\0")
    sources = list_sources(src)
    [problem] = sources.problems
    assert (problem.path, problem.taken) == (name, False)
    assert by_path(sources, "split") == {FIRST: "", SECOND: "" if name.startswith("val") else "validation"}


@pytest.mark.parametrize("name", ["Validation_List.txt", "VALIDATION_LIST.TXT"])
def test_a_list_in_other_letters_is_one(tmp_path: Path, name: str) -> None:
    src = commands(tmp_path, FIRST.encode())
    (src / "validation_list.txt").rename(src / name)
    assert by_path(list_sources(src), "split") == {FIRST: "validation", SECOND: "training"}


@pytest.mark.parametrize("form", ["{root}/{name}", "file://{root}/{name}", "../{last}/{name}", "no/../{name}"])
def test_a_list_with_other_ways_to_the_recording(tmp_path: Path, form: str) -> None:
    src = tmp_path / "src"
    line = form.format(root=src, last="src", name=FIRST)
    sources = list_sources(commands(src, line.encode()))
    if form.startswith(".."):  # above SRC there is nothing to be named
        assert [problem.taken for problem in sources.problems] == [False]
    else:
        assert by_path(sources, "split") == {FIRST: "validation", SECOND: "training"}
        assert not sources.problems


# --------------------------------------------------------------------------------------------------------- transcripts


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize(
    "line",
    [
        "84-12-0000 WORDS AND MORE",
        "\ufeff84-12-0000 WORDS AND MORE",
        "84-12-0000\tWORDS AND MORE ",
        " 84-12-0000  WORDS AND MORE",
    ],
)
def test_a_transcript(tmp_path: Path, line: str, end: str) -> None:
    touch(tmp_path, "84/12/84-12-0000.flac", "84/12/84-12-0001.flac")
    (tmp_path / "84/12/84-12.trans.txt").write_bytes(f"{line}{end}84-12-0001 SECOND{end}".encode())
    sources = list_sources(tmp_path)
    assert column(sources, "transcript") == ["WORDS AND MORE", "SECOND"]
    assert not sources.problems


def test_a_transcript_of_nothing_and_one_that_contradicts(tmp_path: Path) -> None:
    touch(tmp_path, "84/12/84-12-0000.flac")
    (tmp_path / "84/12/84-12.trans.txt").write_text("84-12-0000 ONE\n84-12-0009 LOST\n84-12-0000 TWO\n")
    sources = list_sources(tmp_path)
    assert column(sources, "transcript") == ["ONE"]
    assert {problem.reason.split(":")[0]: problem.taken for problem in sources.problems} == {
        "line 2 names no recording that is taken from SRC": False,
        "line 3 gives different words than an earlier line": False,
    }


def test_a_line_without_words_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "84/12/84-12-0000.flac", "84/12/84-12-0001.flac")
    (tmp_path / "84/12/84-12.TRANS.TXT").write_text("84-12-0000\n84-12-0001 WORDS\n")
    [problem] = list_sources(tmp_path).problems
    assert (problem.path, problem.taken) == ("84/12/84-12-0000.flac", True)


# ----------------------------------------------------------------------------------------------------------- manifests


def manifest(kind: str, name: str, end: str) -> bytes:
    if kind == "jsonl":
        return (json.dumps({"audio_filepath": name, "text": "hello", "speaker": "ann"}) + end).encode()
    mark = "," if kind == "csv" else "\t"
    file = io.StringIO()
    writer = csv.writer(file, delimiter=mark, lineterminator=end, quoting=csv.QUOTE_MINIMAL)
    writer.writerows([["path", "text", "speaker"], [name, "hello", "ann"]])
    return file.getvalue().encode()


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("how", NAMES)
@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv"])
def test_names_in_a_manifest(tmp_path: Path, kind: str, how: str, end: str) -> None:
    touch(tmp_path, FIRST)
    (tmp_path / f"m.{kind}").write_bytes(b"\xef\xbb\xbf" + manifest(kind, NAMES[how](FIRST), end))
    sources = list_sources(tmp_path, manifest="m." + kind, layout="none")
    assert by_path(sources, "transcript") == {FIRST: "hello"}
    assert column(sources, "subjects") == [["ann"]]
    assert not sources.problems


@pytest.mark.parametrize("form", ["file://{}", "file://localhost{}", "{}"])
@pytest.mark.parametrize("name", ["a b/c.wav", "a%20b/c.wav", "ü/é.wav"])
def test_absolute_names_and_file_urls(tmp_path: Path, form: str, name: str) -> None:
    touch(tmp_path / "src", name)
    where = str(tmp_path / "src" / name)
    for spelled in (where, where.replace(" ", "%20")):
        if "file" in form or spelled == where:
            row = {"path": form.format(spelled), "speaker": "ann"}
            (tmp_path / "m.jsonl").write_text(json.dumps(row))
            assert column(list_sources(tmp_path / "src", manifest=tmp_path / "m.jsonl"), "path") == [name]


def test_a_line_that_matches_no_file_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run: Run = runner(capsys)
    record(tmp_path / "src" / "a.wav", 0.2)
    (tmp_path / "src" / "metadata.csv").write_text("file_name, text, speaker\na.wav, hello, ann\nb.wav, gone, ann\n")
    done = run("encrypt", tmp_path / "src", tmp_path / "sealed", "--manifest", "metadata.csv", "--json")
    assert done.code == 1
    assert [(one["path"], one["reason"]) for one in done.json["problems"]] == [
        ("b.wav", "line 3 of the manifest: no such file")
    ]


def test_blanks_after_commas(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('path , text, speaker\na.wav,  "one, two", ann \n')
    rows = read_rows(tmp_path / "m.csv")
    assert (rows.names, rows.transcript, rows.speaker) == (["a.wav"], ["one, two"], ["ann"])


def pandas_tsv(rows: list[list[str]], quoting: Any = csv.QUOTE_MINIMAL) -> bytes:
    """As pandas.DataFrame.to_csv(sep='\\t') writes it."""
    file = io.StringIO()
    csv.writer(file, delimiter="\t", lineterminator="\n", quoting=quoting).writerows(rows)
    return file.getvalue().encode()


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize(
    "words",
    ['she said "no"', '"no", she said', '"no"', "a\ttab", "two\nlines", "plain", 'a "quote" and\ta tab', "5' 11\""],
)
def test_a_tsv_with_quotes(tmp_path: Path, words: str, quoting: Any) -> None:
    rows = [["path", "text", "speaker"], ["a.wav", words, "ann"], ["b.wav", "more", "ann"]]
    (tmp_path / "m.tsv").write_bytes(pandas_tsv(rows, quoting))
    found = read_rows(tmp_path / "m.tsv")
    assert (found.names, found.transcript) == (["a.wav", "b.wav"], [words, "more"])


@pytest.mark.parametrize("words", ['"Oh," she said.', 'She said ""no"".', '"Hello"', '"', '""', 'a "b', '"a" and "b"'])
def test_a_tsv_without_quotes(tmp_path: Path, words: str) -> None:
    (tmp_path / "m.tsv").write_text(f"path\ttext\na.wav\t{words}\nb.wav\tmore\n")
    assert read_rows(tmp_path / "m.tsv").transcript == [words, "more"]


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le"])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv"])
def test_a_manifest_in_utf_16(tmp_path: Path, kind: str, coding: str) -> None:
    (tmp_path / f"m.{kind}").write_bytes(manifest(kind, "a.wav", "\n").decode().encode(coding))
    with pytest.raises(InvalidArgument, match="iconv"):
        read_rows(tmp_path / f"m.{kind}")
