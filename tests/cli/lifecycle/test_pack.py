"""`securedata pack` and `encrypt --pack`: what they say, and how they end."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import securedata as sd
from securedata.errors import AuthenticationFailed, FormatError, ObjectMissing, Truncated
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import current, recordings_of
from tests.kit.corpora.recorded import flip_object, make_corpus


def test_what_it_says(root: str, run: Run) -> None:
    before = recordings_of(root)
    assert "would be packed: 6 objects" in run("pack", root, "--dry-run").out
    done = run("pack", root)
    assert done.code == 0
    assert "packed: 6 objects" in done.out
    assert "into 1 pack" in done.out
    assert "nothing to do" in run("pack", root).out
    assert run("info", root, "--json").json["packs"] == 1
    gone = sorted(before)[0]
    assert "1 object in packs: the bytes stay there" in run("remove", root, gone).err
    said = run("verify", root)
    assert said.code == 0
    assert "1 pack, of which" in said.err
    assert run("info", root, "--json").json["dead_bytes"] > 0
    assert "compacted: 1 pack into 1, 5 objects" in run("pack", root, "--compact", "0", "--now").out
    assert "unpacked: 5 objects" in run("pack", root, "--unpack", "--now").out
    del before[gone]
    assert recordings_of(root) == before
    assert run("verify", root, "--json").json["packs"] == 0


def test_a_damaged_object_is_listed_with_exit_code_1(root: str, run: Run) -> None:
    path = sorted(recordings_of(root))[0]
    flip_object(root, path)
    done = run("pack", root)
    assert done.code == 1
    assert "packed: 5 objects" in done.out
    assert path in done.err
    assert "1 object of" in done.err
    assert len(run("pack", root, "--json").json["failed"]) == 0, "one object alone is not looked at again"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--group-by", "colour"], "group_by"),
        (["--unpack", "--size", "5M"], "--unpack goes with none of"),
        (["--compact", "--unpack"], "--unpack goes with none of"),
        (["--size", "5 packs"], "not a number of bytes"),
        (["--compact", "100"], "not a percentage"),
        (["--min-object", "9M"], "above max_object"),
    ],
)
def test_words_that_it_does_not_take(root: str, run: Run, words: list[str], text: str) -> None:
    done = run("pack", root, *words)
    assert done.code in (1, 2)
    assert text in done.err


@pytest.mark.parametrize(
    ("harm", "error"),
    [("cut", Truncated), ("hole", AuthenticationFailed), ("gone", ObjectMissing), ("other", FormatError)],
)
def test_a_pack_that_was_harmed(root: str, run: Run, tmp_path: Path, harm: str, error: type[Exception]) -> None:
    """One clear error for each recording that it lost, and the others are read."""
    assert run("pack", root, "--now").code == 0
    rows = current(sd.open_corpus(root).reference)
    [pack] = Path(root, "packs").iterdir()
    last = max(rows, key=lambda path: rows[path]["offset"])
    data = bytearray(pack.read_bytes())
    pack.chmod(0o600)
    at = rows[last]["offset"] + 200
    if harm == "cut":
        pack.write_bytes(data[:-1])
    elif harm == "hole":
        data[at : at + 50] = bytes(50)
        pack.write_bytes(data)
    elif harm == "other":
        (tmp_path / "second").mkdir()
        second = make_corpus(tmp_path / "second", name="voice-b")
        assert run("pack", second, "--now").code == 0
        shutil.copy(next(Path(second, "packs").iterdir()), pack)
    else:
        shutil.rmtree(pack.parent)
    with sd.open_corpus(root) as corpus, pytest.raises(error):
        corpus.read(last)
    lost = {last} if harm in ("cut", "hole") else set(rows)
    said = run("verify", root, "--json")
    assert said.code == 1
    assert {path for one in said.json["findings"] for path in one["paths"]} == lost
    done = run("pack", root, "--compact", "0", "--json")
    assert not done.json["packs"], "what is not alive is not dead either"
    assert sorted(current(sd.open_corpus(root).reference)) == sorted(rows)


def test_encrypt_and_pack(wavs: Path, tmp_path: Path, run: Run) -> None:
    target = str(tmp_path / "sealed")
    done = run("encrypt", str(wavs), target, "--one-subject", "ann", "--pack")
    assert done.code == 0
    assert "packed: 6 objects" in done.out
    assert {one["pack"] is None for one in current(sd.open_corpus(target).reference).values()} == {False}
    again = sd.ingest(wavs, target, one_subject="ann", pack=True)
    assert again.unchanged == 6
    assert again.packed is not None
    assert again.packed.objects == 0
    assert sd.verify(target).ok
