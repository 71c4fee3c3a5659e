"""A KMS that goes away while an erasure runs: nothing is half said, and a later run finishes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from securedata.corpus.config import Reference
from securedata.errors import KMSUnreachable
from securedata.lifecycle.erasure.erase import erase, finish_open
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.operator import make_operator
from securedata.storage.local import LocalStorage
from securedata.testing.proxy import FaultProxy
from tests.kit.corpora.contents import current, look
from tests.kit.corpora.rows import add, content, make, writer_of
from tests.kit.hooked import Hooked
from tests.kit.servers import Bao

pytestmark = pytest.mark.xdist_group("servers")

ANN = Request("subject", names=("ann",))


@pytest.fixture
def kms(bao: Bao) -> Iterator[FaultProxy]:
    """In front of the KMS."""
    with FaultProxy(bao.address) as proxy:
        yield proxy


@pytest.fixture
def corpus(bao: Bao, kms: FaultProxy, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reference:
    """Ann and bob, under a transit key that is reached through a proxy."""
    monkeypatch.setenv("VAULT_TOKEN", bao.token)
    make_operator("example.com/erasure")
    key = replace(bao, address=kms.endpoint).make_key(prefix)
    reference = make(root=str(tmp_path / prefix), name=prefix, kms=[key])
    add(writer_of(reference), {"ann/1": content("ann/1"), "bob/1": content("bob/1")})
    return reference


def when(reference: Reference, moment: str, deed: Callable[[], None]) -> Hooked:
    """The corpus's storage, which does something before its first call of this kind."""
    left = [deed]

    def before(call: str, key: str) -> None:
        if call == moment and not (call == "purge" and key.startswith(".tmp-probe-")) and left:
            left.pop()()

    return Hooked(LocalStorage(reference.root), before, lambda call, key: None)


def test_before_the_commit_nothing_is_erased(corpus: Reference, kms: FaultProxy) -> None:
    writer = writer_of(corpus, when(corpus, "check_deletable", kms.refuse))
    before = look(corpus).head
    with pytest.raises(KMSUnreachable, match=r"was not wrapped, and nothing was committed: .*; if that key is gone"):
        erase(writer, ANN)
    kms.clear()
    assert look(corpus).head == before
    assert sorted(current(corpus)) == ["ann/1", "bob/1"]
    assert erase(writer_of(corpus), ANN).receipt is not None
    assert sorted(current(corpus)) == ["bob/1"]


def test_after_the_commit_it_is_not_needed(corpus: Reference, kms: FaultProxy) -> None:
    erased = erase(writer_of(corpus, when(corpus, "purge", kms.refuse)), ANN)
    assert erased.receipt is not None
    assert erased.receipt.levels == ("deleted where visible",)
    kms.clear()
    assert look(corpus).head.receipts[0]["digest"] == erased.receipt.digest


class Killed(BaseException):
    """The process is gone."""


def test_a_rerun_waits_for_it(corpus: Reference, kms: FaultProxy) -> None:
    """The draft stays, and says nothing of what was not done."""

    def killed() -> None:
        kms.refuse()
        raise Killed

    with pytest.raises(Killed):
        erase(writer_of(corpus, when(corpus, "purge", killed)), ANN)
    for again in (lambda: finish_open(writer_of(corpus)), lambda: erase(writer_of(corpus), ANN)):
        with pytest.raises(KMSUnreachable, match="check address and network"):
            again()
    kms.clear()
    assert (len(look(corpus).head.erasures), look(corpus).head.receipts) == (1, ())
    [done] = finish_open(writer_of(corpus))
    head = look(corpus).head
    assert (head.erasures, [one["digest"] for one in head.receipts]) == ((), [done.digest])
