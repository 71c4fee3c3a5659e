"""Cells read from buffers are what Arrow says they are."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securedata.corpus.rows.arrow_cells import cells

KINDS = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.large_string(): st.text(max_size=20),
    pa.list_(pa.large_string()): st.lists(st.text(max_size=5), max_size=3),
    pa.binary(16): st.binary(min_size=16, max_size=16),
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(data=st.data())
def test_every_cell(kind: pa.DataType, data: st.DataObject) -> None:
    nulls = data.draw(st.sampled_from(["none", "some", "all"]))
    value = KINDS[kind] if nulls == "none" else st.none() if nulls == "all" else st.none() | KINDS[kind]
    listed = data.draw(st.lists(value, max_size=40))
    start = data.draw(st.integers(0, len(listed)))
    array = pa.array(listed, kind)[start:]
    read = cells(array)
    assert [read(j) for j in range(len(array))] == listed[start:]
    assert all(type(read(j)) is type(listed[start + j]) for j in range(len(array)))
