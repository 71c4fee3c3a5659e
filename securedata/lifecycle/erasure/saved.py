"""Try a saved copy of a corpus: what of an erasure's receipt still opens with the keys that the caller has.

Files are told apart by what they hold, not by their names, so that a single head or part that somebody saved can be
tried too. Nothing of the corpus itself is read, and nothing is written.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.objects.fetch import open_saved
from securedata.corpus.state.head import MAX_SEALED, Head, open_with, peek
from securedata.corpus.state.tables import open_table
from securedata.errors import (
    FormatError,
    InvalidArgument,
    KeysError,
    KMSDenied,
    MalformedManifest,
    NoTrustedKey,
    NotSealed,
    UnknownSuite,
    UnknownVersion,
)
from securedata.files import open_regular, read_bounded
from securedata.foreign.describe import describe
from securedata.format.header import MAX_HEAD_HEADER, Header, Kind
from securedata.format.sealed import Expect
from securedata.keys.kms import KMS
from securedata.keys.local import LocalKMS
from securedata.keys.wraps import unwrap_key
from securedata.lifecycle.receipt.statement import Statement

_COLUMNS = ("object_id", "pack", "offset", "sealed_size", "size", "data_key")
_PIECE = 4 * 1024 * 1024
_BROKEN = (FormatError, MalformedManifest)


@dataclass(frozen=True, slots=True)
class TriedHead:
    """A head in the copy.

    Attributes:
        file: below the copy.
        generation: None: it did not open, and `why` says why.
        before: it opened, and was written before the erasure, so the old corpus key is not gone.
        parts: how many manifest parts of the receipt it has keys of.
    """

    file: str
    generation: int | None
    before: bool = False
    parts: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """What a saved copy gave.

    Attributes:
        heads: all heads of the corpus in the copy.
        parts, objects: ids (hex, sorted) of those that opened: parts that the receipt names, or that hold keys of
            objects that it names; objects that it names.
        there: how many heads, parts and objects of the corpus the copy has.
        damaged: files that are broken, or did not open with their key, and why.
        unasked: files that were not really tried, and why: a KMS could not be asked, or securedata is too old.
    """

    heads: tuple[TriedHead, ...]
    parts: tuple[str, ...]
    objects: tuple[str, ...]
    there: tuple[int, int, int]
    damaged: tuple[str, ...]
    unasked: tuple[str, ...]

    @property
    def opened(self) -> bool:
        """Whether anything opened that the receipt names."""
        return bool(self.parts or self.objects or any(one.before or one.parts for one in self.heads))


def try_copy(statement: Statement, copy: str | os.PathLike[str], trusted: Sequence[KMS]) -> Tried:
    """Try to open what a receipt names, in a saved copy.

    Args:
        copy: a folder as the bucket had it, with any files missing; or one file.
        trusted: the caller's KMS keys. Key files that are gone are left out.

    Raises:
        InvalidArgument: there is no such copy, it cannot be read, or it has nothing of this corpus.
    """
    return _Trial(statement, Path(copy), trusted).run()


class _Trial:
    def __init__(self, statement: Statement, copy: Path, trusted: Sequence[KMS]) -> None:
        self._statement, self._copy = statement, copy
        self._corpus = bytes.fromhex(statement.corpus.id)
        self._trusted = [one for one in trusted if not _is_gone(one)]
        self._objects = {bytes.fromhex(one) for one in statement.deleted.objects}
        self._parts = {bytes.fromhex(one) for one in statement.deleted.parts}
        self._files: dict[Kind, dict[bytes, list[Path]]] = {kind: defaultdict(list) for kind in Kind}
        self._named: dict[str, Path] = {}
        self._damaged: list[str] = []
        self._unasked: list[str] = []

    def run(self) -> Tried:
        self._look()
        there = (
            sum(map(len, self._files[Kind.HEAD].values())),
            len(self._files[Kind.TABLE]),
            len(self._files[Kind.DATA]),
        )
        if not any(there):
            raise InvalidArgument(f"{self._copy} has nothing of the corpus {self._corpus.hex()}: nothing was tried")
        opened, heads = self._heads()
        parts, rows = self._tables([head for head, _ in opened])
        objects = self._data(rows)
        return Tried(
            tuple(heads),
            tuple(sorted(one.hex() for one in parts)),
            tuple(sorted(one.hex() for one in objects)),
            there,
            tuple(self._damaged),
            tuple(self._unasked),
        )

    def _look(self) -> None:
        """Find every sealed file of the corpus, by its header."""
        for path in _files(self._copy):
            try:
                with os.fdopen(open_regular(os.fspath(path)), "rb") as file:
                    header = Header.decode(file.read(MAX_HEAD_HEADER), path.name)
            except NotSealed:  # not ours; or a pack, which is found by its name
                self._named[path.name] = path
                continue
            except (UnknownVersion, UnknownSuite) as error:
                self._unasked.append(f"{self._name(path)}: {error}")
                continue
            except FormatError as error:
                self._damaged.append(f"{self._name(path)}: {error}")
                continue
            except OSError as error:
                raise InvalidArgument(f"{path} cannot be read: {describe(error)}; nothing was concluded") from None
            if header.corpus_id == self._corpus:
                self._files[header.kind][header.object_id].append(path)

    def _heads(self) -> tuple[list[tuple[Head, bytes]], list[TriedHead]]:
        """Open every head by its wraps, or by the corpus key of another that opened."""
        paths = sorted(path for found in self._files[Kind.HEAD].values() for path in found)
        opened: list[tuple[Head, bytes]] = []
        failed: list[tuple[Path, bytes, str]] = []
        told: list[TriedHead] = []
        for path in paths:
            data = self._read(path, MAX_SEALED)
            try:
                _, wraps = peek(data, path.name)
                key = unwrap_key(wraps, self._trusted, self._corpus, path.name)
                opened.append((open_with(data, key, path.name), key))
                told.append(self._told(path, opened[-1][0]))
            except (KeysError, FormatError, MalformedManifest) as error:
                failed.append((path, data, str(error)))
                if isinstance(error, (KeysError, UnknownVersion)) and not isinstance(error, (KMSDenied, NoTrustedKey)):
                    self._unasked.append(f"{self._name(path)}: {error}")
        for path, data, why in failed:
            for key in {key for _, key in opened}:
                try:
                    opened.append((open_with(data, key, path.name), key))
                    told.append(self._told(path, opened[-1][0]))
                    break
                except _BROKEN:
                    continue
            else:
                told.append(TriedHead(self._name(path), None, why=why))
        return opened, told

    def _told(self, path: Path, head: Head) -> TriedHead:
        known = {one["id"] for one in (*head.erasures, *head.receipts)}
        parts = sum(one.id in self._parts for one in head.parts)
        return TriedHead(self._name(path), head.generation, self._statement.id not in known, parts)

    def _tables(self, heads: Sequence[Head]) -> tuple[set[bytes], list[pa.Table]]:
        """Open all parts that opened heads name: those of the receipt, and rows of its objects in any."""
        wanted = pa.array(sorted(self._objects), pa.binary(16))
        opened, rows = set(), []
        for ref in {one.id: one for head in heads for one in head.parts}.values():
            for path in self._files[Kind.TABLE].get(ref.id, ()):
                try:
                    data = self._read(path, ref.size)
                    table = open_table(data, self._corpus, ref, _COLUMNS, path.name)
                except _BROKEN as error:
                    self._damaged.append(f"{self._name(path)}: {error}")
                    continue
                hits = table.filter(pc.is_in(table.column("object_id"), value_set=wanted))
                rows.append(hits)
                if ref.id in self._parts or hits.num_rows:
                    opened.add(ref.id)
        return opened, rows

    def _data(self, tables: Sequence[pa.Table]) -> set[bytes]:
        """Open the objects whose keys were found."""
        rows = {row["object_id"]: row for table in tables for row in table.select(_COLUMNS).to_pylist()}
        return {id for id, row in rows.items() if any(self._opens(path, row) for path in self._places(id, row))}

    def _places(self, id: bytes, row: dict[str, object]) -> list[Path]:
        pack = row["pack"]
        if not isinstance(pack, bytes):
            return self._files[Kind.DATA].get(id, [])
        packs = [self._named.get(pack.hex()), *self._files[Kind.DATA].get(pack, [])]  # a pack begins with an object
        return [one for one in packs if one is not None]

    def _opens(self, path: Path, row: dict[str, object]) -> bool:
        expect = Expect(Kind.DATA, self._corpus, row["object_id"], path.name, row["sealed_size"], row["size"])  # type: ignore[arg-type]  # of the manifest's schema
        try:
            open_saved(row["data_key"], _pieces(path, row["offset"] or 0, row["sealed_size"]), expect)  # type: ignore[arg-type]  # likewise
        except FormatError as error:
            self._damaged.append(f"{self._name(path)}: {error}")
            return False
        except OSError as error:
            raise InvalidArgument(f"{path} cannot be read: {describe(error)}; nothing was concluded") from None
        return True

    def _read(self, path: Path, limit: int) -> bytes:
        try:
            return read_bounded(open_regular(os.fspath(path)), os.fspath(path), limit)
        except OSError as error:
            raise InvalidArgument(f"{path} cannot be read: {describe(error)}; nothing was concluded") from None

    def _name(self, path: Path) -> str:
        return path.name if path == self._copy else os.fspath(path.relative_to(self._copy))


def _is_gone(kms: KMS) -> bool:
    try:
        return isinstance(kms, LocalKMS) and kms.fate(None).state == "destroyed"
    except KeysError:  # it cannot be told; a head that needs it counts as not tried
        return False


def _files(copy: Path) -> Iterator[Path]:
    if copy.is_file():
        yield copy
        return
    if not copy.is_dir():
        raise InvalidArgument(f"there is no copy at {copy}")

    def refuse(error: OSError) -> None:
        raise InvalidArgument(f"{error.filename} cannot be read: {describe(error)}; nothing was concluded") from None

    for folder, folders, names in os.walk(copy, onerror=refuse):
        if links := [name for name in folders if os.path.islink(Path(folder, name))]:
            raise InvalidArgument(f"{Path(folder, links[0])} is a link to a folder, and not followed: copy it there")
        yield from (path for name in sorted(names) if (path := Path(folder, name)).is_file())


def _pieces(path: Path, offset: int, size: int) -> Iterator[bytes]:
    with os.fdopen(open_regular(os.fspath(path)), "rb") as file:
        file.seek(offset)
        while size > 0 and (piece := file.read(min(_PIECE, size))):
            size -= len(piece)
            yield piece
