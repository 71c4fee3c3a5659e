"""Arrays as .npy files: what NumPy reads and writes, and nothing else."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securedata.media.npy import from_npy, subtype_of, to_npy
from securedata.media.reason import Undecodable
from tests.kit.corpora.featured import array


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 200)),
    dtype=st.sampled_from(["<f2", "<f4"]),
    seed=st.integers(0, 9),
)
def test_numpy_reads_what_is_written_and_the_reverse(shape: tuple[int, int, int], dtype: str, seed: int) -> None:
    made = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    data = to_npy(made)
    theirs = np.load(io.BytesIO(data), allow_pickle=False)
    assert theirs.dtype == made.dtype
    assert np.array_equal(theirs, made)
    file = io.BytesIO()
    np.save(file, made)
    assert file.getvalue() == data
    ours = from_npy(bytearray(data))
    assert (ours.dtype, ours.shape) == (made.dtype, made.shape)
    assert np.array_equal(ours, made)
    assert ours.flags.writeable
    assert subtype_of(ours) == {"<f2": "FLOAT16", "<f4": "FLOAT32"}[dtype]


def saved(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, value, **options)
    return file.getvalue()


GOOD = to_npy(array(12, 5))
BAD = {
    "nothing": b"",
    "a pickle": pickle.dumps(array()),
    "objects, pickled inside": saved(np.array([[["a"]]], object), allow_pickle=True),
    "float64": saved(np.zeros((1, 2, 3))),
    "big-endian": saved(np.zeros((1, 2, 3), ">f4")),
    "integers": saved(np.zeros((1, 2, 3), "<i4")),
    "two dimensions": saved(np.zeros((2, 3), "<f4")),
    "four dimensions": saved(np.zeros((1, 2, 3, 4), "<f4")),
    "Fortran order": saved(np.asfortranarray(np.zeros((2, 3, 4), "<f4"))),
    "no frames": saved(np.zeros((1, 2, 0), "<f4")),
    "one byte less": GOOD[:-1],
    "one byte more": GOOD + b"\0",
    "only the header": GOOD[:128],
    "version 2.0": GOOD[:6] + b"\x02" + GOOD[7:],
    "a header beyond the end": GOOD[:8] + b"\xff\xff" + GOOD[10:],
    "another shape": GOOD.replace(b"(1, 5, 12)", b"(1, 5, 13)"),
    "a huge shape": GOOD.replace(b"(1, 5, 12), } ", b"(1, 5, 9999999999999), } ").replace(b" " * 12 + b"\n", b"\n"),
    "an expression": GOOD.replace(b"'shape': (1, 5, 12)", b"'shape': (1, 5, 6+6)"),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(Undecodable):
        from_npy(data)


@pytest.mark.parametrize(
    "made", [np.zeros((1, 2, 3)), np.zeros((2, 3), "f4"), np.zeros((1, 2, 0), "f2"), np.zeros((1, 1, 1), "i2")]
)
def test_no_other_array_is_written(made: Any) -> None:
    with pytest.raises(ValueError, match="features must be"):
        to_npy(made)
