"""Arrays of features as files in NumPy's .npy format, version 1.0, which many tools read. Never a pickle.

The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Only what `to_npy` writes is read:
little-endian float16 or float32, in C order, with three dimensions.
"""

from __future__ import annotations

import io
import re
from typing import Any, TypeAlias

import numpy as np

from securedata.media.reason import Undecodable

Features: TypeAlias = np.ndarray[Any, Any]
"""[channels, features, frames], float16 or float32."""

FORMAT = "NPY"
"""What the column `format` says of such an object."""

_SUBTYPES = {"<f2": "FLOAT16", "<f4": "FLOAT32"}
DTYPES = {subtype: np.dtype(kind) for kind, subtype in _SUBTYPES.items()}
"""By what the column `subtype` says."""

_PREAMBLE = 10  # magic, version, and the header's length in two bytes
_MOST = 4096
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '(<f[24])', 'fortran_order': False, "
    rb"'shape': \(([1-9]\d{0,9}), ([1-9]\d{0,9}), ([1-9]\d{0,15})\), \} *\n"
)


def subtype_of(array: Features) -> str:
    """What the column `subtype` says of an array.

    Raises:
        ValueError: neither float16 nor float32.
    """
    for subtype, dtype in DTYPES.items():
        if array.dtype == dtype:
            return subtype
    raise ValueError(f"features must be float16 or float32, not {array.dtype}")


def to_npy(array: Features) -> bytes:
    """The array as a file.

    Args:
        array: [channels, features, frames], float16 or float32, none of the three 0.

    Raises:
        ValueError: another shape or dtype.
    """
    dtype = DTYPES[subtype_of(array)]
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"features must be [channels, features, frames], none of them 0, not {list(array.shape)}")
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array, dtype), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def from_npy(data: bytes | bytearray | memoryview) -> Features:
    """The array of a file, in the file's own memory.

    Nothing is allocated from what the file claims, and its header is matched rather than evaluated.

    Raises:
        Undecodable: it is not such a file.
    """
    view = memoryview(data).cast("B")
    if bytes(view[: len(_MAGIC)]) != _MAGIC or len(view) < _PREAMBLE:
        raise Undecodable("it does not begin like a .npy file of version 1.0")
    length = int.from_bytes(view[len(_MAGIC) : _PREAMBLE], "little")
    at = _PREAMBLE + length
    header = _HEADER.fullmatch(view[_PREAMBLE : min(at, _MOST)])
    if header is None:
        raise Undecodable("its .npy header is not that of a float16 or float32 array of three dimensions in C order")
    dtype = np.dtype(header[1].decode())
    shape = tuple(map(int, header.groups()[1:]))
    if shape[0] * shape[1] * shape[2] * dtype.itemsize != len(view) - at:
        raise Undecodable(
            f"it has {len(view) - at} bytes of values, but its header says shape {list(shape)} of {dtype}"
        )
    return np.frombuffer(view[at:], dtype).reshape(shape)
