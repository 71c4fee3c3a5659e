"""What NIST SP 800-88 asks of a record of an erasure, as docs/receipt.md has it, beside a real receipt."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import Root
from tests.kit.docs.tree import ROOT

MEMBER = re.compile(r"`([a-z_]+(?:\.[a-z_]+)*)`")


def rows() -> list[list[str]]:
    """The cells of both tables of the page's section."""
    page = (ROOT / "docs/receipt.md").read_text(encoding="utf-8")
    section = page.partition("### What NIST SP 800-88 asks\n")[2]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]


def value(receipt: Any, member: str) -> Any:
    for name in member.split("."):
        assert name in receipt, f"{member} is in no receipt"
        receipt = receipt[name]
    return receipt


def test_every_member_that_the_tables_name_is_in_a_real_receipt(run: Run, root: Root) -> None:
    assert run("operator", "init", "--name", "example.com/erasure").code == 0
    done = run("erase", root.name, "--subject", "ann", "--request", "REQ-7", "--json")
    assert done.code == 0
    path = done.json["receipt"]["path"]
    words = ("--stated", "backups=there are none", "--responsible", "the office, +49 30 1234")
    done = run("receipt", "complete", path, root.name, *words, "--validated", "the officer=enough", "--json")
    assert (done.code, done.json["changed"]) == (0, True)
    receipt = run("receipt", "show", done.json["path"], "--json").json
    tables = rows()
    assert [cells[0] for cells in tables if cells[1] == "member"] == [
        "a certificate records", "a statement of cryptographic erase says",
    ]  # fmt: skip
    seen = set()
    for asked, answer in (cells for cells in tables if cells[1] != "member"):
        inside = {"keys", "count", "how"}  # of each of `sanitization.destroyed`
        members = [name for name in MEMBER.findall(answer) if name not in inside]
        assert members or asked == "signature", asked
        for member in members:
            assert value(receipt, member) not in (None, "", [], {}), f"{member} says nothing of {asked}"
        seen.update(members)
    assert inside == set(receipt["sanitization"]["destroyed"][0])
    assert {name.partition(".")[2] for name in seen if name.startswith("sanitization.")} == set(receipt["sanitization"])
    assert (receipt["validation"]["by"], receipt["who"]["responsible"]) == ("the officer", "the office, +49 30 1234")
    shown = run("receipt", "verify", done.json["path"]).out
    assert "the officer" in shown
    assert "the office" in shown


@pytest.mark.parametrize("words", ["the officer", "=enough", "the officer="])
def test_a_validation_without_words_is_none(run: Run, root: Root, words: str) -> None:
    done = run("receipt", "complete", "none.receipt", root.name, "--validated", words)
    assert (done.code, done.out) == (2, "")
    assert "--validated is BY=TEXT" in done.err
    assert run("receipt", "show", "none.receipt", "--validated", "a=b").code == 2
