"""What a transaction has changed in a corpus and not committed yet, as its own reads see it."""

from __future__ import annotations

from collections import Counter, UserDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from securedata.corpus.rows.index import Index
from securedata.filesystem.tree import span

V = TypeVar("V")


class Paths(UserDict[str, V]):
    """Values by path; how many paths are below a folder is known without a search."""

    def __init__(self) -> None:
        self._below: Counter[str] = Counter()
        super().__init__()

    def __setitem__(self, path: str, value: V) -> None:
        if path not in self.data:
            self._count(path, 1)
        super().__setitem__(path, value)

    def __delitem__(self, path: str) -> None:
        super().__delitem__(path)
        self._count(path, -1)

    def _count(self, path: str, more: int) -> None:
        while path:
            path = path.rpartition("/")[0]
            self._below[path] += more

    def number_below(self, folder: str) -> int:
        return self._below.get(folder, 0)


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written in the transaction.

    Attributes:
        columns: of its row, as far as they are known before it is sealed.
        id: 16 random bytes, as its object might have no id yet.
        read: its bytes, by offset and length.
    """

    columns: Mapping[str, Any] = field(repr=False)
    size: int
    id: bytes
    read: Callable[[int, int], bytearray] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Overlay(Generic[V]):
    """What is put under paths, and which paths are taken out.

    Attributes:
        show: the file that is put; for a copied or moved one the path of its row in the corpus.
    """

    put: Paths[V] = field(repr=False)
    removed: Paths[None] = field(repr=False)
    show: Callable[[V], Written | str]

    def find(self, path: str) -> Written | str | None:
        """What is put under a path."""
        one = self.put.get(path)
        return None if one is None else self.show(one)

    def is_folder(self, index: Index, folder: str) -> bool:
        """Whether files are below a path: of the transaction, or of the corpus and not removed."""
        if self.put.number_below(folder):
            return True
        at, end = span(index, folder)
        return end - at > self.removed.number_below(folder) or any(
            index.path(int(index.order[position])) not in self.removed for position in range(at, end)
        )

    def below(self, folder: str) -> list[str]:
        """The paths below a folder under which something is put."""
        prefix = folder + "/" if folder else ""
        return [path for path in list(self.put.data) if path.startswith(prefix)]
