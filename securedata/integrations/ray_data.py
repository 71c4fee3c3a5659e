"""Ray Data over a corpus: each block is a run of rows of one manifest part, which `pack` writes in the order of packs.

A block is read where Ray runs its task, by that process's own connection, and holds plaintext: see docs/scale.md.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ray.data import Datasource as RayDatasource
from ray.data import ReadTask
from ray.data.block import BlockMetadata

from securedata.corpus.config import Reference
from securedata.corpus.objects.fetch import Piece
from securedata.corpus.parts.reader import PartRows, PartwiseCorpus, open_parts
from securedata.corpus.schema import SCHEMA
from securedata.errors import InvalidArgument, SecuredataError

_BLOCK_BYTES = 64 * 1024 * 1024
"""Content of one block, about; a task yields several, so that it never holds all of its rows."""

_SPILLING = "RAY_automatic_object_spilling_enabled"
"""Read from the environment of this process: Ray does not tell how the processes of its cluster were started."""

_KEPT = 2
"""Corpora, and parts of each, that a process keeps open."""


class SpillWarning(UserWarning):
    """Ray might write blocks, which hold plaintext, to disk."""


class Datasource(RayDatasource):
    """The recordings of a corpus, for `ray.data.read_datasource`: their files' bytes and columns of the manifest.

    A row has `path`, `bytes` (the content of the file) and the columns asked for. Workers open the corpus by their own
    call to the KMS, and only the parts of their blocks; what Ray sends them holds no key. If the corpus has changed
    since this was made, they raise GenerationChanged.

    Ray keeps blocks in shared memory, and writes them to disk when that is full. Turn that off where the cluster is
    started, with RAY_automatic_object_spilling_enabled=0 in the environment, and set it here, too: without it a
    SpillWarning is issued.

    Example:
        source = securedata.ray.Datasource("voice-a", columns=["speaker", "transcript"])
        for row in ray.data.read_datasource(source).iter_rows():
            audio, rate = soundfile.read(io.BytesIO(row["bytes"]))
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | Reference,
        *,
        columns: Sequence[str] = ("speaker", "utterance", "transcript", "split", "language"),
        filter: pc.Expression | None = None,
        speaker: str | Sequence[str] | None = None,
        purpose: str | None = None,
        kms: str | Sequence[str] | None = None,
        pin: str | Sequence[str] | None = None,
        role: str | None = None,
    ) -> None:
        """Open the head of the corpus, and with a filter or purpose also count the rows of its parts.

        Args:
            target: a name from the config, `securedata://NAME`, a path or a URL.
            columns: of the manifest, besides `path`.
            filter, purpose, kms, pin, role: as `open_corpus` takes them.
            speaker: one or several; only their rows are read. Their names do not travel, unlike those in `filter`.

        Raises:
            InvalidArgument: an unknown column.
            as `open_corpus`
        """
        super().__init__()
        columns = (columns,) if isinstance(columns, str) else tuple(columns)
        if unknown := [one for one in columns if one not in SCHEMA.names or one == "data_key"]:
            raise InvalidArgument(f"columns= names no columns of the manifest: {', '.join(map(repr, unknown))}")
        self._columns = tuple(dict.fromkeys(("path", *columns)))
        self._corpus = open_parts(
            target,
            kms=kms,
            pin=pin,
            columns=self._columns,
            filter=filter,
            speakers=speaker,
            role=role,
            purpose=purpose,
        )
        self._counts = self._corpus.count()
        _warn_of_spilling()

    def get_name(self) -> str:
        """The name of the read tasks."""
        return "Securedata"

    def estimate_inmemory_data_size(self) -> int | None:
        """Bytes of all rows, about."""
        return int(self._counts.rows.sum() * self._counts.mean)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """About `parallelism` runs of rows, none across two parts."""
        total = int(self._counts.rows.sum())
        most = max(1, -(-total // max(1, parallelism)))
        corpus = pickle.dumps(self._corpus)  # by reference: root, options, generation; no key
        tasks = []
        for number, rows in enumerate(self._counts.rows.tolist()):
            pieces = -(-rows // most) or 1
            edges = [rows * at // pieces for at in range(pieces + 1)]
            for begin, end in pairwise(edges):
                if begin == end:
                    continue
                size = int((end - begin) * self._counts.mean)
                metadata = BlockMetadata(num_rows=end - begin, size_bytes=size, exec_stats=None, input_files=None)
                read = partial(_read, corpus, number, self._counts.exact, begin, end, self._columns)
                tasks.append(ReadTask(read, metadata, per_task_row_limit=per_task_row_limit))
        return tasks


def _warn_of_spilling() -> None:
    if os.environ.get(_SPILLING, "1").lower() not in ("0", "false"):
        warnings.warn(
            "Ray writes blocks to disk when its memory is full, and these hold plaintext: start the cluster, or call "
            f"ray.init, with {_SPILLING}=0 in the environment, and set it here, too, so that this is known",
            SpillWarning,
            stacklevel=3,
        )


_lock = threading.Lock()
_open: OrderedDict[bytes, tuple[PartwiseCorpus, OrderedDict[int, PartRows]]] = OrderedDict()


def _rows_of(corpus: bytes, number: int, exact: bool) -> PartRows:
    """A part of a corpus, opened once in each process."""
    with _lock:
        name = hashlib.sha256(corpus).digest()
        if name not in _open:
            _open[name] = pickle.loads(corpus), OrderedDict()  # noqa: S301 - Ray has unpickled this call in the same way
        whole, parts = _open[name]
        if number not in parts:
            parts[number] = whole.open_part(number, exact)
        _open.move_to_end(name)
        parts.move_to_end(number)
        while len(_open) > _KEPT:
            _open.popitem(last=False)
        while len(parts) > _KEPT:
            parts.popitem(last=False)
        return parts[number]


def _read(corpus: bytes, number: int, exact: bool, begin: int, end: int, columns: Sequence[str]) -> Iterator[pa.Table]:
    part = _rows_of(corpus, number, exact)
    rows = part.find(np.arange(begin, end))
    rows = rows[rows >= 0]
    rows = rows[[not part.corpus.ended_before(int(row)) for row in rows]] if len(rows) else rows
    sizes = [part.corpus.index.location(int(row)).size for row in rows]
    at = 0
    while at < len(rows):
        until, room = at + 1, _BLOCK_BYTES - sizes[at]
        while until < len(rows) and sizes[until] <= room:
            room -= sizes[until]
            until += 1
        yield _block(part, rows[at:until].tolist(), columns)
        at = until


def _block(part: PartRows, rows: list[int], columns: Sequence[str]) -> pa.Table:
    content: list[Any] = [None] * len(rows)
    for at, got in part.corpus.read_many([Piece(row) for row in rows]):
        if isinstance(got, SecuredataError):
            raise got
        content[at] = bytes(got)
    table = part.corpus.table.select(list(columns)).take(pa.array(rows))
    return table.append_column("bytes", pa.array(content, pa.large_binary()))
