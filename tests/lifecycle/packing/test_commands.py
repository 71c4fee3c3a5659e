"""Each command on a packed corpus and on the same corpus unpacked: both leave the same rows, people and files."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from securedata.corpus.config import resolve
from tests.kit.corpora.contents import current, files_of
from tests.kit.killed import Ended, ran
from tests.lifecycle.killed.cases import CASES, NAME, Case, begin
from tests.lifecycle.killed.outcome import Facts, differences, outcome

READS = {
    "export": Case(lambda folder: ("export", NAME, str(folder / "out"), "--allow-plaintext-export")),
    "verify": Case(("verify", NAME)),
}
FIRST = ("rotate data keys", "split", "remove now", "hand on", "erase subject", *READS)
OTHERS = tuple(
    name
    for name, case in CASES.items()
    # these make packs themselves; in a corpus that was made from this one the tags are other ones in each run
    if not {"pack", "packed"} & set(name.split()) and case.before.__name__ != "_derived" and name not in FIRST
)
SAYS = {
    "rotate data keys": "5 objects of packs sealed again outside them: 'securedata pack voice-a' packs them again",
    "split": "1 object of packs sealed again outside them",
    "remove now": "1 object in packs: the bytes stay there",
    "retention apply": "crypto-erased in 1 pack of voice-a: the sealed bytes stay there, without their keys",
    "erase subject": "crypto-erased in 1 pack",
    "erase finish": "crypto-erased in 1 pack",
    "consent withdraw erase": "crypto-erased in 1 pack",
    "verify": "1 pack",
}
"""What is said beside what is said without packs."""
OUT_OF_PACKS = ("rotate data keys", "split", "split now")


class Left(NamedTuple):
    """What a command left: how it ended, files in plaintext, what is so two days later, and which rows are in packs."""

    ended: Ended
    files: dict[str, bytes]
    facts: Facts
    packed: dict[str, bool]


class Beginning:
    """The same corpus for both runs, at the same place."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.folder, self.saved = home, folder, folder.with_name("saved")
        folder.mkdir()
        begin(folder)
        for place in (home, folder):
            shutil.copytree(place, self.saved / place.name)

    def left(self, case: Case, packed: bool) -> Left:
        for place in (self.home, self.folder):
            shutil.rmtree(place)
            shutil.copytree(self.saved / place.name, place)
        if packed and case.before.__name__ != "_shared":  # it adds one recording, and one alone is not packed
            pack()
        case.before(self.folder)
        if packed:
            pack()
            assert all(one["pack"] for one in current(resolve(NAME)).values())
        ended = ran(case.arguments(self.folder))
        rows = current(resolve(NAME))
        out = self.folder / "out"
        files = {str(file.relative_to(out)): file.read_bytes() for file in files_of(out)}
        facts = outcome(self.home, self.folder)  # which also opens every object
        return Left(ended, files, facts, {path: one["pack"] is not None for path, one in rows.items()})


def pack() -> None:
    done = ran(("pack", NAME, "--now"))
    assert done.code == 0, done.said


@pytest.mark.parametrize("name", [*FIRST, *(pytest.param(one, marks=pytest.mark.full) for one in OTHERS)])
def test_it_does_the_same(name: str, own_home: Path, tmp_path: Path) -> None:
    case = CASES[name] if name in CASES else READS[name]
    for module in case.imports:  # here, and not in each child
        importlib.import_module(module)
    corpus = Beginning(own_home, tmp_path / "corpora")
    plain, packed = corpus.left(case, False), corpus.left(case, True)
    assert plain.ended.code in (0, 3), plain.ended.said
    assert packed.ended.code == plain.ended.code, packed.ended.said
    assert packed.files == plain.files
    assert (name == "export") == bool(plain.files)
    assert not differences(packed.facts, plain.facts)
    if said := SAYS.get(name):
        assert said in packed.ended.said
        assert said not in plain.ended.said
    alone = [path for path, is_packed in packed.packed.items() if not is_packed]
    sealed_again = {"rotate data keys": packed.packed.keys()}.get(name, {one for one in alone if "talk" in one})
    assert set(alone) == set(sealed_again if name in OUT_OF_PACKS else ())
