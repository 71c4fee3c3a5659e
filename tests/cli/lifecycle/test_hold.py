"""`securedata hold`, as people and scripts use it, and what other commands say of rows that a hold keeps."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from securedata.corpus.home import state_dir
from securedata.corpus.opening import open_corpus
from securedata.corpus.writer import Writer
from securedata.keys.tags import Tagger
from securedata.lifecycle.derived import register_derived
from securedata.lifecycle.holds.restriction import restrict
from tests.kit.cli.commandline import PATTERN, Ran, Run
from tests.kit.corpora.recorded import Root, make_corpus, remove_paths
from tests.kit.docs.readme import all_blocks
from tests.kit.docs.tree import ROOT
from tests.kit.sources.recordings import clip

NEWER = "securedata: other users need this securedata or a newer one"


def hold(run: Run, root: Root, action: str, *more: str) -> Ran:
    return run("hold", action, root.name, *more)


def tag(root: Root, name: str) -> bytes:
    return Tagger(Writer(root.reference).head.secret).tag(name)


def test_a_hold_is_added_shown_and_released(run: Run, root: Root) -> None:
    done = hold(run, root, "add", "--subject", "ann", "--case", "2026-17", "--reason", "a letter", "-q")
    assert (done.code, done.out[:38]) == (0, "held from generation 3 for case 2026-1")
    assert done.err.startswith(NEWER)
    done = hold(run, root, "add", "--subject", "ann", "--case", "2026-18")
    assert (done.code, done.err) == (0, "")
    done = hold(run, root, "add", "--subject", "ann", "--case", "2026-18")
    assert (done.code, done.out.startswith("held already for case 2026-18: ")) == (0, True)
    lines = [line.split() for line in hold(run, root, "list").out.splitlines()]
    assert [(line[0], line[5:]) for line in lines[1:]] == [
        ("2026-17", ["ann", "a", "letter"]),
        ("2026-18", ["ann"]),
    ]
    found = hold(run, root, "list", "--json").json
    [person] = found["people"]
    assert (person["subject"], person["rows"], person["restrictions"]) == ("ann", int(lines[1][2]), [])
    assert [(one["case"], one["reason"]) for one in person["holds"]] == [("2026-17", "a letter"), ("2026-18", "")]
    done = hold(run, root, "release", "--subject", "ann", "--case", "2026-17")
    assert (done.code, "still held for 1 case: 2026-18" in done.err) == (0, True)
    done = hold(run, root, "release", "--tag", person["tag"][:8], "--case", "2026-18", "--json")
    assert (done.json["last"], done.json["cases"], done.json["changed"]) == (True, [], True)
    done = hold(run, root, "list")
    assert (done.code, done.out, done.err) == (0, "", f"nobody is held in {root}\n")
    assert list(state_dir().glob("holds/*/*")) == []


def test_a_name_with_a_slip_of_the_pen(run: Run, root: Root) -> None:
    for action in ("add", "release"):
        done = hold(run, root, action, "--subject", "Ann", "--case", "7")
        assert done.code == 1
        assert "names that are like it (1):\n  ann\n" in done.err
        assert "Ann" not in done.error
    done = hold(run, root, "add", "--subject", "Ann", "--case", "7", "--absent-ok", "--json")
    assert (done.code, done.json["rows"], done.json["first"]) == (0, 0, True)
    done = hold(run, root, "release", "--subject", "Ann", "--case", "8")
    assert (done.code, "cases that do: 7" in done.error) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "{}"],
        ["add", "{}", "--case", "7"],
        ["add", "{}", "--subject", "ann"],
        ["add", "{}", "--subject", "ann", "--case", " "],
        ["add", "{}", "--subject", "ann", "--case", "7", "--keep"],
        ["add", "{}", "--tag", "00112233", "--case", "7"],
        ["release", "{}", "--case", "7"],
        ["release", "{}", "--subject", "ann"],
        ["release", "{}", "--subject", "ann", "--case", "7", "--reason", "x"],
        ["release", "{}", "--subject", "ann", "--case", "7", "--absent-ok"],
        ["release", "{}", "--subject", "ann", "--tag", "00112233", "--case", "7"],
        ["release", "{}", "--tag", "00112233", "--case", "7"],
        ["release", "{}", "--tag", "xx", "--case", "7"],
        ["add", "{}", "--subject", "ann", "--case", "7", "--yes"],
        ["release", "{}", "--subject", "ann", "--case", "7", "--object-lock"],
        ["release", "{}", "--subject", "ann", "--case", "7", "--yes"],
        ["list", "{}", "--object-lock"],
        ["list", "{}", "--case", "7"],
        ["keep", "{}"],
    ],
)
def test_usage(run: Run, root: Root, arguments: list[str]) -> None:
    done = run("hold", *(one.format(root.name) for one in arguments))
    assert (done.code, done.out) == (2, "")
    assert Writer(root.reference).head.holds == ()


def test_a_disk_has_no_object_lock(run: Run, root: Root) -> None:
    for more in ((), ("--yes",)):
        done = hold(run, root, "add", "--subject", "ann", "--case", "7", "--object-lock", *more)
        assert (done.code, done.out) == (1, "")
        assert "only S3 with Object Lock can keep versions from being deleted" in done.error
    assert Writer(root.reference).head.holds == ()


def test_a_request_that_waits_for_the_end_of_a_hold(run: Run, root: Root) -> None:
    assert hold(run, root, "add", "--subject", "ann", "--case", "7").code == 0
    done = restrict(Writer(root.reference), [tag(root, "ann"), tag(root, "bob")], "REQ 1", "2026-11-30")
    assert (done.tags, done.free, done.changed, done.first) == ((tag(root, "ann"),), (tag(root, "bob"),), True, True)
    shown = hold(run, root, "list").out
    assert "erasure REQ 1 waits: opens for nobody" in shown
    command = f"securedata erase {root.name} --subject ann --request 'REQ 1' --received 2026-11-30"
    for _ in range(2):  # as after a run that was killed at its end
        done = hold(run, root, "release", "--subject", "ann", "--case", "7")
        assert done.code == 0
        assert "a request for erasure waits for this (REQ 1, received 2026-11-30). Erase now?" in done.err
        assert done.out.splitlines()[1:] == [f"  {command}"]
    [waiting] = hold(run, root, "release", "--subject", "ann", "--case", "7", "--json").json["waiting"]
    assert waiting == {"request": "REQ 1", "received": "2026-11-30", "subject": "ann", "command": command}
    assert len(Writer(root.reference).head.restricted) == 1
    done = hold(run, root, "release", "--subject", "ann", "--case", "7", "--keep")
    assert (done.code, "1 request for erasure set aside" in done.err) == (0, True)
    assert "older versions of securedata open the corpus again" in done.err
    assert Writer(root.reference).head.restricted == ()


def test_the_commands_of_the_page(run: Run, root: Root, here: Path) -> None:
    page = (ROOT / "docs/lifecycle.md").read_text(encoding="utf-8")
    section = page[page.index("\n## Hold\n") :].partition("\n## ")[2].partition("\n## ")[0]
    found = [block.text for block in all_blocks(section) if block.language == "bash"]
    commands = [shlex.split(line) for text in found for line in text.splitlines()]
    assert [command[:3] for command in commands] == [
        ["securedata", "hold", "add"],
        ["securedata", "hold", "list"],
        ["securedata", "export", "voice-a"],
        ["securedata", "hold", "release"],
    ]
    for command in commands:
        assert run(*command[1:]).code == 0, command


# --------------------------------------------------------------------------------------------------------------- ingest

SHARES = ("ann/utt0.wav", "bob/utt0.wav")


@pytest.fixture
def held(run: Run, here: Path, wavs: Path) -> Path:
    """The six recordings, of which ann's are held, with two of them changed since."""
    assert run("encrypt", wavs, "./sealed", *PATTERN).code == 0
    assert run("hold", "add", "sealed", "--subject", "ann", "--case", "7").code == 0
    for seed, path in enumerate(SHARES):
        (wavs / path).write_bytes(clip("x.wav", 0.9, seed=70 + seed).data)
    return wavs


@pytest.mark.parametrize("dry", [True, False])
def test_encrypt_replaces_the_others_and_lists_the_held(run: Run, held: Path, dry: bool) -> None:
    arguments = ("encrypt", held, "sealed", *PATTERN, "--replace", *(["--dry-run"] if dry else []))
    done = run(*arguments)
    assert done.code == 3
    assert "under a hold, left as they are (1):\n  ann/utt0.wav\n" in done.err
    assert "securedata: 1 row under a hold, left as it is" in done.err
    found = run(*arguments, "--json")
    assert found.code == 3
    assert (found.json["held"], found.json["complete"]) == (["ann/utt0.wav"], False)
    assert (found.json["replaced"], found.json["unchanged"]) == ((1, 4) if dry else (0, 5))
    sources = found.json["sources"]
    assert sources["files"] == sum(count for name, count in sources.items() if name != "files")
    assert sources["not_taken"] == 1
    if not dry:
        done = run("export", "sealed", "out", "--allow-plaintext-export")
        assert Path("out", SHARES[1]).read_bytes() == (held / SHARES[1]).read_bytes()
        assert Path("out", SHARES[0]).read_bytes() != (held / SHARES[0]).read_bytes()
        assert run("verify", "sealed").code == 0


def test_what_else_is_not_taken_counts_more(run: Run, held: Path) -> None:
    (held / "ann" / "broken.wav").write_bytes(b"no audio")
    done = run("encrypt", held, "sealed", *PATTERN, "--replace", "--write-bad", "bad.jsonl")
    assert (done.code, "2 recordings" in done.error) == (1, True)
    done = run("encrypt", held, "sealed", *PATTERN, "--replace", "--known-bad", "bad.jsonl")
    assert done.code == 0
    (held / "ann" / "broken.wav").unlink()
    bad = [json.loads(line) for line in Path("bad.jsonl").read_text().splitlines()]
    assert sorted(one["path"] for one in bad) == ["ann/broken.wav", "ann/utt0.wav"]


@pytest.mark.parametrize("option", [["--reseal"], ["--clear", "transcript"], []])
def test_other_changes_of_rows_too(run: Run, here: Path, wavs: Path, option: list[str]) -> None:
    """Sealing again, emptying a column, and other words under the same recording."""
    table = here / "words.jsonl"

    def words(*texts: str) -> None:
        lines = [
            {"audio_filepath": path, **({"text": text} if text else {})}
            for path, text in zip(SHARES, texts, strict=True)
        ]
        table.write_text("".join(json.dumps(line) + "\n" for line in lines))

    words("one", "two")
    arguments = ("encrypt", wavs, "sealed", *PATTERN, "--manifest", table, "--only-listed")
    assert run("encrypt", wavs, "./sealed", *PATTERN, "--manifest", table, "--only-listed").code == 0
    assert run("hold", "add", "sealed", "--subject", "ann", "--case", "7").code == 0
    words(*(("one", "two") if option == ["--reseal"] else ("", "") if option else ("three", "four")))
    done = run(*arguments, *option, "--json")
    assert (done.code, done.json["held"]) == (3, [SHARES[0]])
    assert done.json["replaced"] + done.json["updated"] == 1
    assert done.json["sources"]["not_taken"] == 1
    assert run("hold", "release", "sealed", "--subject", "ann", "--case", "7").code == 0
    assert run(*arguments, *option).code == 0


def test_merging_goes_on(run: Run, held: Path) -> None:
    assert run("encrypt", held, "sealed", *PATTERN).code == 1, "a changed recording is a conflict, as without a hold"
    (held / SHARES[0]).unlink()
    (held / SHARES[1]).unlink()
    assert run("encrypt", held, "sealed", *PATTERN).code == 0


def test_a_held_row_is_removed_by_nobody(run: Run, root: Root) -> None:
    assert hold(run, root, "add", "--subject", "ann", "--case", "7").code == 0
    paths = [one.path for one in root.clips]
    remove_paths(root, paths)
    with open_corpus(root) as corpus:
        left = corpus.table.column("path").to_pylist()
    assert sorted(left) == sorted(path for path in paths if path.startswith("ann/"))


def test_a_hold_reaches_what_was_made_from_the_corpus(run: Run, root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path, [], "features")
    register_derived(Writer(root.reference), Writer(other.reference).head)
    assert run("hold", "add", root.name, "--subject", "nobody", "--case", "7").code == 1
    assert Writer(other.reference).head.holds == ()
    done = run("hold", "add", root.name, "--subject", "ann", "--case", "7")
    assert (done.code, f"held in the corpora made from this one, too: {other.pin}" in done.err) == (0, True)
    [hold] = Writer(other.reference).head.holds
    assert hold.tag == Tagger(Writer(other.reference).head.secret).tag("ann")
    done = run("hold", "release", root.name, "--subject", "ann", "--case", "7", "--json")
    assert done.json["derived"] == {"reached": [other.pin], "missed": []}
    assert Writer(other.reference).head.holds == ()
    run("forget", "features")
    done = run("hold", "add", root.name, "--subject", "ann", "--case", "8")
    assert done.code == 0
    assert f"a corpus made from this one was not reached: {other.pin} is not in your config" in done.err
