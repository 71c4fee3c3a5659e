"""What tests of erasures begin with: a corpus of three people, and an operator who can sign."""

from __future__ import annotations

import pytest

from securedata.corpus.writer import Writer
from securedata.lifecycle.receipt.operator import Operator, make_operator
from tests.kit.corpora.rows import content, row, table


@pytest.fixture
def operator() -> Operator:
    return make_operator("example.com/erasure").operator


@pytest.fixture
def people(writer: Writer, operator: Operator) -> Writer:
    """Two parts: ann (consents C1 and C2), bob (none), cid (C1), and a conversation of ann and bob."""
    sound = {"sample_rate": 100, "frames": 50}
    writer.commit(
        table(
            row(writer, "ann/1", content("ann/1"), consent_id="C1", **sound),
            row(writer, "ann/2", content("ann/2"), consent_id="C2", **sound),
            row(writer, "bob/1", content("bob/1"), ["bob"], **sound),
        )
    )
    writer.commit(
        table(
            row(writer, "cid/1", content("cid/1"), ["cid"], consent_id="C1", **sound),
            row(writer, "both/1", content("both/1"), ["ann", "bob"], **sound),
        )
    )
    return writer
