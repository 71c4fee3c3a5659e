"""What the drop-in corpora share: rows of a sealed corpus in torchaudio's order, as torchaudio's tuples."""

from __future__ import annotations

import json
import os
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, SupportsIndex, TypedDict, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.memfd import spawning
from securedata.errors import InvalidArgument
from securedata.torch.combine import Made, Recordings, row_of, without_skipped
from securedata.torch.dataset import EncryptedAudioDataset
from securedata.torch.replace import SKIPPED
from securedata.torch.sample import Metadata, Sample, Waveform
from securedata.torch.select import Duration

Root = str | os.PathLike[str]
Order = np.ndarray[Any, np.dtype[np.int64]]
ItemT = TypeVar("ItemT", bound=tuple[Any, ...], covariant=True)


class Options(TypedDict, total=False):
    """The options of `EncryptedAudioDataset` that a drop-in corpus takes by keyword, besides torchaudio's arguments.

    `transform` is called with the waveform, before the tuple is made; `ds.map(function)` with the tuple.
    """

    kms: str | Sequence[str] | None
    pin: str | Sequence[str] | None
    role: str | None
    purpose: str | None
    filter: pc.Expression | None
    speaker: str | Sequence[str] | None
    duration: Duration | None
    sample_rate: int | None
    num_frames: int | None
    crop: str
    transform: Callable[[Waveform], Waveform] | None
    on_error: str
    on_erased: str
    on_gone: str | None
    ttl: float
    kms_wait: float
    refresh: bool
    accept_generation: int | None
    cache: str | os.PathLike[str] | None
    cache_size: int | str | None


class DropIn(Made[ItemT]):
    """A corpus of torchaudio over sealed recordings. Batches, workers, statistics and errors are those of
    `EncryptedAudioDataset`, whose options it takes by keyword."""

    def __init__(self, root: Root, where: pc.Expression, what: str, download: bool, options: Options) -> None:
        """Open the corpus.

        Args:
            where: the rows that are the dataset's.
            what: what they are, for the error if there are none.

        Raises:
            InvalidArgument: `download`, or there is no such row.
            as `EncryptedAudioDataset`
        """
        if download:
            raise InvalidArgument(
                "download=True would write plaintext to this disk: download the corpus where plaintext may be, seal it "
                "with 'securedata encrypt FOLDER NAME', and give its name as root"
            )
        given = options.get("filter")
        if given is not None and not isinstance(given, pc.Expression):
            raise InvalidArgument(f"filter= is a pyarrow expression, not {type(given).__name__}")
        options["filter"] = where if given is None else where & given
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "none of the .* matches all filters")  # an error below says so
            self._audio = EncryptedAudioDataset(root, **options)
        self._arranged: tuple[object, Order] | None = None
        self._chosen: list[Any] | None = None
        if not len(self._audio):
            where_text = ", ".join(corpus.name or corpus.root for corpus in self._audio.corpora)
            self._audio.close()
            raise InvalidArgument(
                f"{where_text} has no {what}: seal the whole tree as it was extracted, with 'securedata encrypt'; "
                "'securedata ls' shows its folders"
            )

    # ------------------------------------------------------------ what a corpus says

    @abstractmethod
    def _item(self, first: Any, about: Sample | Metadata, extra: dict[str, Any]) -> ItemT:
        """torchaudio's tuple: `first` is the waveform or the path, `extra` what the source said besides."""

    @abstractmethod
    def _order(self, rows: pa.Table) -> Order:
        """The numbers of the rows that are items, in torchaudio's order."""

    @abstractmethod
    def _place(self, path: str) -> str:
        """The path that torchaudio's `get_metadata` returns, from the logical path."""

    def _walk(self, path: str, about: Metadata) -> Any:
        """torchaudio's entry for an item in `_walker`."""
        raise AttributeError(f"{type(self).__name__} has no _walker")

    # ------------------------------------------------------------ items

    def __repr__(self) -> str:
        if not hasattr(self, "_arranged"):
            return f"<{type(self).__name__}, not open>"
        roots = ", ".join(corpus.name or corpus.root for corpus in self._audio.corpora)
        return f"<{type(self).__name__} of {roots}: {len(self)} recordings>"

    def __len__(self) -> int:
        return len(self._rows())

    def __getitem__(self, n: SupportsIndex) -> ItemT:
        """The n-th item, torchaudio's tuple; fetched and decrypted in memory.

        Raises:
            IndexError
            as `EncryptedAudioDataset`
        """
        return self._made(self._audio[self._row(n)])

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[ItemT]:
        """A batch, in order: all objects are fetched in parallel. A DataLoader calls this by itself."""
        return without_skipped(self._batch(indices))

    def get_metadata(self, n: SupportsIndex) -> Any:
        """The n-th item with torchaudio's path in place of the waveform; nothing is fetched or decrypted.

        Raises:
            IndexError
        """
        about = self._audio.get_metadata(self._row(n))
        return self._item(self._place(about.path), about, extra_of(about))

    @property
    def lengths(self) -> Any:
        """int64 [N]: the frames of each waveform, before `transform`."""
        return self._audio.lengths[self._rows()]

    @property
    def speakers(self) -> list[str]:
        """Every speaker once, sorted."""
        return sorted(set(self.metadata.column("speaker").to_pylist()))

    @property
    def metadata(self) -> pa.Table:
        """The manifest's columns, row n for item n; without keys and object ids."""
        return self._audio.metadata.take(self._rows())

    def _sources(self) -> list[Recordings[Any]]:
        return [self._audio]

    def _batch(self, indices: Sequence[SupportsIndex], keep: bool = True) -> list[Any]:
        found = self._audio._batch([self._row(n) for n in indices], keep)
        return [one if one is SKIPPED else self._made(one) for one in found]

    def _made(self, sample: Sample) -> ItemT:
        return self._item(sample.waveform, sample, extra_of(sample))

    # ------------------------------------------------------------ order

    def _row(self, n: SupportsIndex) -> int:
        self.check_rows()
        rows = self._rows()
        return int(rows[row_of(n, len(rows))])

    def _rows(self) -> Order:
        """The row of each item; sorted again after other rows were opened."""
        opened = tuple(corpus.snapshot.index for corpus in self._audio.corpora)
        if self._arranged is None or self._arranged[0] != opened:
            order = self._order(self._audio.metadata)
            self._arranged = opened, order if self._chosen is None else self._choose(order, self._chosen, False)
        return self._arranged[1]

    @property
    def _walker(self) -> list[Any]:
        """torchaudio's list of what the items are. It can be set to some of them, in any order."""
        rows = self._rows()
        return self._walks(rows)

    @_walker.setter
    def _walker(self, chosen: Iterable[Any]) -> None:
        listed = list(chosen)
        self._chosen, self._arranged = None, None
        order = self._choose(self._rows(), listed, True)
        self._chosen = listed
        self._arranged = tuple(corpus.snapshot.index for corpus in self._audio.corpora), order

    def _walks(self, rows: Order) -> list[Any]:
        return [self._walk(about.path, about) for about in map(self._audio.get_metadata, rows)]

    def _choose(self, rows: Order, chosen: Sequence[Any], all_of_them: bool) -> Order:
        known = {_key(walk): row for walk, row in zip(self._walks(rows), rows, strict=True)}
        found = [known.get(_key(one)) for one in chosen]
        if all_of_them and None in found:
            raise InvalidArgument(f"entry {found.index(None)} of _walker is none that this dataset has had in it")
        return np.array([row for row in found if row is not None], np.int64)

    def __getstate__(self) -> dict[str, Any]:
        if spawning():  # the process that is started has the same rows
            return self.__dict__ | {"_arranged": (None, self._rows()), "_chosen": None}
        if self._chosen is not None:
            raise InvalidArgument(
                f"a {type(self).__name__} whose _walker was set cannot be pickled: set it where the pickle is read"
            )
        return self.__dict__ | {"_arranged": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._arranged is not None:
            self._arranged = tuple(corpus.snapshot.index for corpus in self._audio.corpora), self._arranged[1]


def _key(walk: Any) -> Any:
    return tuple(walk) if isinstance(walk, list) else walk


def extra_of(about: Sample | Metadata) -> dict[str, Any]:
    """What the source said of a recording besides the columns of the manifest."""
    return json.loads(about.extra) if about.extra else {}


def matches(pattern: str, column: str = "path") -> pc.Expression:
    """Rows whose text in the column has the pattern, an RE2 expression, anywhere."""
    return pc.match_substring_regex(pc.field(column), pattern)


def by_path(rows: pa.Table, column: str = "path") -> Order:
    """The rows in the order of their paths, or of another text."""
    order: Order = pc.sort_indices(rows.column(column)).to_numpy().astype(np.int64)
    return order


def by_line(rows: pa.Table, pattern: str) -> Order:
    """The rows in the order of the list that they came from, and those that it does not number first, by path.

    Args:
        pattern: RE2 expression for `extra`, with the number of the line in its group `n`.
    """
    order = by_path(rows)
    lines = pc.struct_field(pc.extract_regex(rows.column("extra"), pattern), "n").cast(pa.int64())
    return order[np.argsort(pc.fill_null(lines, 0).to_numpy()[order], kind="stable")]


def written(words: str, extra: dict[str, Any], what: str = "") -> str:
    """The first line of a text as it was written, which `layouts.base.as_written` described in extra."""
    line: str = extra.get(f"{what}line", words + extra.get(f"{what}newline", ""))
    return line


def within(rows: pa.Table, folder: str) -> pa.Array:
    """The numbers of the rows below the folder, if any are; else of all: the folder itself may have been sealed."""
    below = pc.match_substring_regex(rows.column("path"), f"(^|/){re_escape(folder)}/")
    found = pc.indices_nonzero(below)
    return found if len(found) else pa.array(np.arange(rows.num_rows))


def re_escape(text: str) -> str:
    """The text as an RE2 expression that matches it."""
    return "".join(char if char.isalnum() or char in "_" else f"\\x{{{ord(char):x}}}" for char in text)
