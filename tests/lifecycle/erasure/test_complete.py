"""Completing a receipt: a key file that is gone, keys that nobody names, and what the operator states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import securedata.lifecycle.erasure.complete as module
from securedata.corpus.config import Reference
from securedata.corpus.wrapping import add_wrap, drop_wrap
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument
from securedata.keys.kms import open_all, open_kms
from securedata.keys.local import create_key_file
from securedata.keys.wraps import Wrap, named, parse_named
from securedata.lifecycle.erasure.complete import Completed, complete, how_to_destroy
from securedata.lifecycle.erasure.erase import erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.members import Stated, Validation
from securedata.lifecycle.receipt.operator import Operator
from securedata.lifecycle.receipt.verify import unverified_statement
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.rows import make, writer_of


def receipt(people: Writer) -> bytes:
    erased = erase(people, Request("subject", names=("ann",)))
    assert erased.receipt is not None
    assert erased.receipt.path is not None
    return erased.receipt.path.read_bytes()


def test_a_key_file_that_is_gone(corpus: Reference, people: Writer, operator: Operator, tmp_path: Path) -> None:
    data = receipt(people)
    [key] = complete(people, data, operator, open_all(corpus.kms)).keys
    assert key.needed_by == ("corpus (not read: NotFound)",)  # it is in the memory of this test
    create_key_file(tmp_path / "new.kek")
    new = f"local://{tmp_path / 'new.kek'}"
    add_wrap(people, open_kms(new))
    drop_wrap(people, corpus.kms[0])
    file = Path(corpus.kms[0].removeprefix("local://"))
    kept = file.read_bytes()
    file.unlink()
    done = complete(people, data, operator, open_all([*corpus.kms, new]))
    assert done.changed
    assert "key destroyed: local:" in done.receipt.levels[1]
    assert "copies of it were not looked for" in done.receipt.levels[1]
    # a copy of the file comes back: the key is destroyed no more, and the receipt does not go on saying so
    file.write_bytes(kept)
    file.chmod(0o600)
    assert done.receipt.path is not None
    back = complete(people, done.receipt.path.read_bytes(), operator, open_all([*corpus.kms, new]))
    assert (back.changed, back.receipt.levels) == (True, ("deleted where visible",))


def test_two_runs_complete_a_receipt(people: Writer, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run loses, says so, and leaves the final receipt of the first."""
    data, first = receipt(people), []
    real = module.write_receipt

    def overtaken(*given: Any) -> Any:
        monkeypatch.setattr(module, "write_receipt", real)
        first.append(complete(people, data, operator, (), [Stated("backups", "there are none")]).receipt)
        return real(*given)

    monkeypatch.setattr(module, "write_receipt", overtaken)
    with pytest.raises(InvalidArgument, match="another run completed"):
        complete(people, data, operator, (), [Stated("caches", "there are none")])
    assert people.refresh().receipts[0]["digest"] == first[0].digest
    assert [path.name for path in first[0].path.parent.glob("*.receipt")] == [first[0].path.name]


def test_a_key_that_nobody_names(people: Writer, operator: Operator) -> None:
    done = complete(people, receipt(people), operator, ())
    assert (done.changed, done.keys[0].fate) == (False, None)
    assert "you do not name this key" in done.keys[0].why


def test_what_the_operator_states_is_kept_apart(corpus: Reference, people: Writer, operator: Operator) -> None:
    stated = [Stated("KMS snapshots", "none are kept")]
    done = complete(people, receipt(people), operator, open_all(corpus.kms), stated)
    assert done.changed
    assert done.receipt.levels == ("deleted where visible",)
    assert done.receipt.path is not None
    assert complete(people, done.receipt.path.read_bytes(), operator, open_all(corpus.kms), stated).changed is False


def test_who_has_judged_and_who_is_responsible(people: Writer, operator: Operator) -> None:
    first, again = (Validation("the officer", "enough", day) for day in ("2026-11-30", "2026-12-01"))
    done = complete(people, receipt(people), operator, (), validation=first, responsible="the office")
    assert done.changed
    data = receipt_of(done)
    assert complete(people, data, operator, (), validation=again, responsible="the office").changed is False
    stated = receipt_of(complete(people, data, operator, (), [Stated("backups", "there are none")]))
    statement = unverified_statement(stated)
    assert (statement.validation, statement.who.responsible) == (first, "the office"), "kept by later ones"
    other = Validation("the officer", "not enough", "2026-12-01")
    after = unverified_statement(receipt_of(complete(people, stated, operator, (), validation=other)))
    assert (after.validation, after.who.responsible) == (other, "the office")


def receipt_of(done: Completed) -> bytes:
    assert done.receipt.path is not None
    return done.receipt.path.read_bytes()


def test_a_receipt_of_another_corpus(people: Writer, operator: Operator) -> None:
    place = MemoryStorage("memory://other")
    other = writer_of(make(place, "memory://other", "other"), place)
    with pytest.raises(InvalidArgument, match="has recorded no receipt with the id"):
        complete(other, receipt(people), operator, ())


@pytest.mark.parametrize(
    ("wrap", "text"),
    [
        (Wrap("hcvault://h/transit/keys/v", b"vault:v12:abc"), "hcvault://h/transit/keys/v, version 12"),
        (Wrap("local:00ff", b"\x01" * 60), "local:00ff"),
    ],
)
def test_how_a_wrap_is_named(wrap: Wrap, text: str) -> None:
    assert named(wrap) == text
    assert parse_named(text)[0] == wrap.uri


def test_the_commands_that_destroy_a_key() -> None:
    assert how_to_destroy("hcvault://h:8200/transit/keys/v, version 3")[-1] == (
        "bao write transit/keys/v/trim min_available_version=4"
    )
    assert (
        "--region eu-west-1 --key-id arn:aws:kms:eu-west-1:1:key/x "
        in how_to_destroy("aws-kms://arn:aws:kms:eu-west-1:1:key/x")[-1]
    )
    assert "shred" in how_to_destroy("local:00ff")[-1]
