"""A stranger checks a receipt: by the command, and by the script of docs/receipt.md, which needs no securedata."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from contextlib import redirect_stdout
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature

from securedata.errors import BadSignature, InvalidArgument, MalformedReceipt, ReceiptError
from securedata.lifecycle.receipt import members, verify
from securedata.lifecycle.receipt.members import Times, utc
from securedata.lifecycle.receipt.note import SignerKey, VerifierKey
from securedata.lifecycle.receipt.opening import Opening
from securedata.lifecycle.receipt.operator import make_operator
from securedata.lifecycle.receipt.statement import PROVES, Statement
from securedata.lifecycle.receipt.store import write_openings, write_receipt
from securedata.lifecycle.receipt.verify import read_keys, verify_receipt
from tests.conftest import FULL
from tests.kit.cli.commandline import Run
from tests.kit.cli.process import output_of
from tests.kit.docs.readme import blocks
from tests.kit.docs.tree import ROOT
from tests.lifecycle.receipt.receipts import ANN, AWS, CORPUS, ID, LOCAL, NAME, statement
from tests.lifecycle.receipt.test_statement import FULL as ALL

PAGE = ROOT / "docs" / "receipt.md"
[SCRIPT] = blocks(PAGE, "python title=check_receipt.py")


class Given:
    """What a stranger is given: the receipt, the public key, and an opening."""

    def __init__(self, folder: Path) -> None:
        operator = make_operator(NAME).operator
        self.public = operator.public
        self.path = write_receipt(statement(), operator).path
        self.data = self.path.read_bytes()
        self.opening = write_openings(CORPUS, ID, [ANN]) / f"{ANN.commitment[:16]}.json"
        self.changed = folder / "changed.receipt"
        self.key = folder / "operator.pub"
        self.key.write_text(f"# ours\n\n{self.public}\n")


@pytest.fixture
def given(tmp_path: Path) -> Given:
    return Given(tmp_path)


def places(data: bytes) -> range:
    """Bytes to change: a sample of the text, and the signature's whole line."""
    return range(len(data)) if FULL else range(0, len(data), 23)


# --------------------------------------------------------------------------------------------- the script in the docs


def test_the_script_is_short_and_knows_cryptography_alone() -> None:
    assert len(SCRIPT.text.splitlines()) <= 30
    assert "securedata" not in SCRIPT.text


def test_the_script_verifies_a_receipt(given: Given, tmp_path: Path) -> None:
    (tmp_path / "check_receipt.py").write_text(SCRIPT.text)
    command = [sys.executable, "-I", "check_receipt.py", given.path, str(given.public)]
    assert output_of([*command, given.opening], tmp_path) == (
        f"securedata receipt {ID} signed by {NAME} - ['deleted where visible']\n"
    )


def run_script(*arguments: object) -> str:
    """In this process: a new one for each changed byte would take minutes."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as said:
        patch.setattr(sys, "argv", ["check_receipt.py", *map(str, arguments)])
        exec(compile(SCRIPT.text, "check_receipt.py", "exec"), {"__name__": "__main__"})
    return said.getvalue()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # a script ends, and closes its files
def test_the_script_fails_on_a_changed_byte(given: Given) -> None:
    assert run_script(given.path, given.public)
    line = given.data.rfind(b"\n\n")
    for at in sorted({*places(given.data), *range(line, len(given.data))}):
        given.changed.write_bytes(given.data[:at] + bytes([given.data[at] ^ 1]) + given.data[at + 1 :])
        with pytest.raises((InvalidSignature, SystemExit, ValueError)) as caught:
            run_script(given.changed, given.public)
        assert caught.value.args != (0,)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_the_script_fails_for_another_key_and_person(given: Given, tmp_path: Path) -> None:
    other = SignerKey(NAME, bytes(32)).verifier
    for key in (other, SignerKey("other", bytes(32)).verifier, str(given.public).replace(NAME, "x")):
        with pytest.raises(SystemExit, match=r"not signed by|another key|not the verifier key"):
            run_script(given.path, key)
    opening = tmp_path / "other.json"
    opening.write_text(Opening.make("Bob").text(ID))
    with pytest.raises(SystemExit, match="names nobody"):
        run_script(given.path, given.public, opening)


# --------------------------------------------------------------------------------------------------------- the command


def test_the_command_says_who_signed_and_what_it_states(run: Run, given: Given) -> None:
    done = run("receipt", "verify", given.path, "--key", given.key, "--opening", given.opening)
    assert done.code == 0
    assert done.out.startswith(f"signed by {given.public}\nthe receipt names the person of this opening\nIt states:\n")
    states, _, rest = done.out.partition("It does not state")
    for said in (
        f"Erasure {ID}",
        "DSR-17, received 2026-11-02",
        "2 rows, 12.5 s of audio, 2 objects, 1 manifest part, of 1 commitment to people",
        "Deleted: 2 objects and 1 part, whose ids it lists, and 3 versions of the head",
        "Level: deleted where visible.",
        "objects, listed all versions under their keys: passed, none of 2.",
        f"Operator {NAME}. By the operator's word: committed 2023-11-14T22:13:20Z",
    ):
        assert said in states
    for said in (
        AWS,
        f"Nothing is stated of the KMS key {LOCAL}",
        "No KMS key is stated to be destroyed",
        "Nobody is stated to have judged",
        "were not looked for",
        PROVES,
    ):
        assert said in rest
    assert hashlib.sha256(given.data).hexdigest() in rest
    assert "it is final if the head of the corpus records this digest" in done.err
    assert ANN.name not in done.out + done.err


def test_the_command_prints_json(run: Run, given: Given) -> None:
    found = run("receipt", "verify", given.path, "--json").json  # one's own key is the default
    assert found["receipt"] == ID
    assert found["digest"] == hashlib.sha256(given.data).hexdigest()
    assert (found["signers"], found["opened"], found["notes"]) == ([str(given.public)], False, [])
    assert found["statement"] == json.loads(statement().text()) == run("receipt", "show", given.path, "--json").json


def test_a_full_receipt_is_described(run: Run) -> None:
    operator = make_operator(NAME).operator
    done = run("receipt", "show", write_receipt(statement(**ALL), operator).path)
    assert done.code == 0
    assert "its signature was not checked" in done.err
    states, _, rest = done.out.partition("It does not state")
    for said in (
        "Level: old versions remain: Object Lock until 2027-01-01.",
        f"Level: key destroyed: {LOCAL} (the key file is gone).",
        f"Level: scheduled until 2026-12-30: {AWS}",
        "Stated by the operator, not checked: backups: kept 30 days, then gone \u2013 日本\\u202e",
        "Validated by J. Doe, DPO on 2026-11-04: enough for art. 17",
        ": not reached.",
        f": erased, by the receipt with the SHA-256 {'ab' * 32}.",
        "Models looked for in s3://models/; found: asr-3.pt.",
        "responsible: J. Doe.",
    ):
        assert said in states
    assert f"The KMS key {AWS} is not destroyed before 2026-12-30; that can be cancelled." in rest
    assert "Nobody is stated" not in rest
    assert "No KMS key is stated" not in rest


def test_a_changed_byte_fails(given: Given) -> None:
    for at in places(given.data):
        changed = given.data[:at] + bytes([given.data[at] ^ 1]) + given.data[at + 1 :]
        with pytest.raises(ReceiptError):
            verify_receipt(changed, [given.public])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.replace(b"DSR-17", b"DSR-18"), "was changed after it was signed"),
        (lambda data: data[:-1], "is not a signed note, or was cut"),
        (lambda data: data[: len(data) // 2], "is not a signed note, or was cut"),
        (lambda data: b"", "is not a signed note"),
        (lambda data: b"\x89SDE\r\n\x1a\n" + bytes(99), "is not a signed note"),
        (lambda data: data.replace(NAME.encode(), b"other.example"), "by none of the keys"),
    ],
)
def test_a_broken_file_is_a_clear_error(change: object, said: str, run: Run, given: Given) -> None:
    given.changed.write_bytes(change(given.data))  # type: ignore[operator]  # a function, as the list shows
    done = run("receipt", "verify", given.changed)
    assert (done.code, done.out) == (1, "")
    assert said in done.error


def test_what_the_operator_signed_and_is_no_receipt_is_refused(run: Run, given: Given) -> None:
    given.changed.write_text(make_operator().operator.sign("I owe you a receipt\n"))
    for action in ("verify", "show"):
        assert "no receipt of securedata" in run("receipt", action, given.changed).error


def test_a_file_that_is_too_large_is_not_read(run: Run, given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "LARGEST", len(given.data) - 1)
    assert f"it has more than {len(given.data) - 1} bytes" in run("receipt", "verify", given.path).error
    monkeypatch.setattr(verify, "LARGEST", len(given.data))
    assert run("receipt", "verify", given.path).code == 0


def test_usage(run: Run, given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("receipt", "show", given.path, "--key", given.key).code == 2
    done = run("receipt", "verify", given.path, "--key", "no+such+key")
    assert done.code == 2
    assert "is not a verifier key" in done.err
    (tmp_path / "empty").write_text("# nothing\n")
    assert "has no verifier key" in run("receipt", "verify", given.path, "--key", tmp_path / "empty").err
    (tmp_path / "binary").write_bytes(b"\xff")
    assert "cannot be read" in run("receipt", "verify", given.path, "--key", tmp_path / "binary").error
    assert "No such file" in run("receipt", "verify", tmp_path / "none").error
    assert run("receipt", "verify", given.path, "--opening", tmp_path / "binary").code == 2
    assert "No such file" in run("receipt", "verify", given.path, "--opening", tmp_path / "none").error
    other = tmp_path / "other.json"
    other.write_text(Opening.make("Bob").text(ID))
    assert "names nobody by this opening" in run("receipt", "verify", given.path, "--opening", other).error
    monkeypatch.setenv("SECUREDATA_CONFIG", str(tmp_path / "none.toml"))
    done = run("receipt", "verify", given.path)
    assert done.code == 2
    assert "give --key" in done.err


# --------------------------------------------------------------------------------------------------------------- notes


def test_what_is_odd_is_noted(run: Run, given: Given) -> None:
    witness = SignerKey("witness.example", bytes(32))
    note = witness.cosign(given.data.decode())
    found = verify_receipt(note.encode(), [witness.verifier])
    assert "no trusted key of that name signed it" in found.notes[0]
    both = verify_receipt(note.encode(), [witness.verifier, given.public])
    assert (both.signers, both.notes) == ((given.public, witness.verifier), ())
    operator = make_operator().operator
    for apart, odd in ((3600, False), (3601, True)):
        times = Times(utc(1e9 + apart), utc(1e9), utc(1e9), utc(1e9))
        said = verify_receipt(operator.sign(statement(times=times).text()).encode(), [operator.public]).notes
        assert [*said] == (["its times are not in order: a clock was wrong, or was set"] if odd else [])
    given.changed.write_text(operator.sign(statement(times=times).text()))
    assert "note: its times are not in order" in run("receipt", "verify", given.changed).err


def test_a_receipt_against_itself_is_refused_though_it_is_signed(given: Given) -> None:
    text = statement().text().replace('"passed": true', '"passed": false')
    with pytest.raises(MalformedReceipt, match="contradicts itself"):
        verify_receipt(make_operator().operator.sign(text).encode(), [given.public])


def test_keys_are_named_by_themselves_or_by_files(given: Given) -> None:
    other = SignerKey("b", bytes(32)).verifier
    assert read_keys([str(given.key), str(other)]) == [given.public, other]
    with pytest.raises(InvalidArgument):
        read_keys(["PeterNeumann"])
    with pytest.raises(BadSignature):
        verify_receipt(given.data.replace(b"DSR", b"DSS"), [other, given.public])
    assert isinstance(given.public, VerifierKey)


# ------------------------------------------------------------------------------------------------------------ the docs


def test_every_member_and_level_is_in_the_docs() -> None:
    text = PAGE.read_text(encoding="utf-8")
    kinds = [one for one in vars(members).values() if isinstance(one, type) and is_dataclass(one)]
    names = {one.name for kind in (Statement, *kinds) for one in fields(kind)}
    assert [name for name in sorted(names) if f"`{name}`" not in text and f".{name}`" not in text] == []
    for level in (members.DELETED, members.REMAIN, members.DESTROYED, members.SCHEDULED):
        assert f"| `{level}`" in text
    assert json.loads(blocks(PAGE, "json")[0].text) == json.loads(ANN.text(ID))
