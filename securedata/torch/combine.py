"""Datasets made of datasets that still fetch a batch at once: joined end to end, or with a function applied."""

from __future__ import annotations

import operator
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, SupportsIndex, TypeVar

import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset

from securedata.errors import InvalidArgument
from securedata.lineage.record import Lineage
from securedata.torch.lineage import Base, lineage_of
from securedata.torch.replace import SKIPPED
from securedata.torch.stats import Stats

_T = TypeVar("_T", covariant=True)


class Recordings(Dataset[_T]):
    """Recordings by number, read one at a time or a batch at once."""

    @abstractmethod
    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[_T]:
        """In order, the rows that there are now. Python's own loop over `ds[i]` would end early, as if at the last row,
        at the IndexError of a row that a refresh removed."""
        for i in range(len(self)):
            yield self[i]

    @abstractmethod
    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[_T]:
        """A batch, in order. A DataLoader calls this by itself."""

    @abstractmethod
    def get_metadata(self, index: SupportsIndex) -> Any:
        """What is known of a recording, the path first, as a named tuple; nothing is fetched or decrypted."""

    @property
    @abstractmethod
    def lengths(self) -> Tensor:
        """int64 [N]: the frames of each waveform, after resampling and cropping, before any function of yours."""

    @property
    @abstractmethod
    def speakers(self) -> list[str]:
        """Every speaker once, sorted; '' is among them if a recording has none."""

    @property
    @abstractmethod
    def metadata(self) -> pa.Table:
        """The manifest's columns, row i for number i; without keys and object ids."""

    @abstractmethod
    def stats(self) -> Stats:
        """What this process and the workers of its loaders have done so far."""

    @abstractmethod
    def refresh(self) -> bool:
        """Open the current rows; returns whether there were newer ones."""

    @abstractmethod
    def close(self) -> None:
        """Release the shared memory."""

    @abstractmethod
    def check_rows(self) -> None:
        """Refuse numbers that might mean newer rows. Raises GenerationChanged in a persistent worker."""

    def _batch(self, indices: Sequence[SupportsIndex], keep: bool = True) -> list[Any]:
        """As `__getitems__`, with `SKIPPED` in place of samples that are skipped; all may be, unless `keep`."""
        return list(self.__getitems__(indices))

    def _shares(self, indices: Sequence[SupportsIndex]) -> list[tuple[Any, list[int]]] | None:
        """The datasets of this package that a batch reads, in the order in which it does, each with its rows; None if
        that is not known. Raises as `__getitems__`."""
        return None

    def lineage(self, base: Base | Sequence[Base] | None = None) -> Lineage:
        """What a model that is trained with this dataset was trained with: `save_lineage` writes it beside the model.

        It covers every row that was open since the dataset was made, also those that a `refresh` took away, and what
        the records of the models say that the training begins with.

        Args:
            base: those models, each by path or URL or as a record; None: it begins with none.

        Raises:
            InvalidArgument: a base without a record; in a worker of a DataLoader.
            MalformedLineage, StorageError: the record of a base cannot be read.
        """
        return lineage_of([self], base)

    def map(self, function: Callable[[Any], Any]) -> Mapped:
        """The same recordings with `function` applied to each sample, in the process that reads it.

        Args:
            function: called with what this dataset returns, such as a `Sample`; must pickle under spawn and forkserver.
        """
        return Mapped(self, function)

    def __add__(self, other: Dataset[Any]) -> Joined:
        return Joined([self, other])

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def concat(datasets: Iterable[Dataset[Any]]) -> Joined:
    """Join datasets end to end, as `a + b` does: a batch is fetched at once; `lengths`, `metadata` and the like cover
    all of them. Datasets from elsewhere can be among them; one that reads no batches is read row by row.

    Raises:
        InvalidArgument: no dataset, or something that cannot be indexed or has no length.
    """
    return Joined(datasets)


def row_of(index: SupportsIndex, rows: int) -> int:
    """The row that an index means, out of `rows`.

    Raises:
        IndexError
        TypeError: not a whole number, or True or False: those of a mask would read rows 1 and 0 again and again.
    """
    if type(index) is not int:
        if isinstance(index, bool) or (isinstance(index, Tensor) and index.dtype is torch.bool):
            raise TypeError("True and False do not number recordings: for a mask use mask.nonzero().flatten()")
        index = operator.index(index)
    row = index + rows if index < 0 else index
    if not 0 <= row < rows:
        raise IndexError(f"recording {index} of {rows}")
    return row


def call(name: str, function: Callable[[Any], Any], value: Any) -> Any:
    """The result of a user's function.

    Raises:
        RuntimeError: it raised StopIteration or IndexError. StopIteration would end a loop over a DataLoader early, and
            IndexError one over a `Subset` or a wrapper, which Python iterates by `[i]`.
    """
    try:
        return function(value)
    except (StopIteration, IndexError) as error:
        raise RuntimeError(f"the function of {name} raised {type(error).__name__}") from error


class Made(Recordings[_T]):
    """What follows from the datasets of this package that a dataset is made of."""

    @abstractmethod
    def _sources(self) -> list[Recordings[Any]]:
        """Those datasets, each once."""

    def stats(self) -> Stats:
        """What this process and the workers of its loaders have done so far with the underlying datasets."""
        found = [source.stats() for source in self._sources()]
        return Stats._make(map(sum, zip(*found, strict=True))) if found else Stats._make([0] * len(Stats._fields))

    def refresh(self) -> bool:
        """Open the current rows of all; returns whether there were newer ones. Raises as the datasets do."""
        return any([source.refresh() for source in self._sources()])  # noqa: C419 - all of them, not up to the first

    def close(self) -> None:
        """Close the underlying datasets."""
        for source in self._sources():
            source.close()

    def check_rows(self) -> None:
        """Raises GenerationChanged if one of them does: its rows might have shifted the numbers of the others."""
        for source in self._sources():
            source.check_rows()


class Mapped(Made[Any]):
    """A dataset with a function applied to each sample. Made by `ds.map(function)`."""

    def __init__(self, dataset: Recordings[Any], function: Callable[[Any], Any]) -> None:
        """
        Raises:
            InvalidArgument: not a function.
        """
        if not callable(function):
            raise InvalidArgument(f"map() takes a function of one sample, not {type(function).__name__}")
        self.dataset, self.function = dataset, function

    def __repr__(self) -> str:
        return f"<{getattr(self, 'dataset', None)!r}, mapped>"

    def _sources(self) -> list[Recordings[Any]]:
        return sources_of([self.dataset])

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: SupportsIndex) -> Any:
        return call("map", self.function, self.dataset[index])

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[Any]:
        """A batch: fetched as the dataset does, then passed through the function, in order."""
        return without_skipped(self._batch(indices))

    def _batch(self, indices: Sequence[SupportsIndex], keep: bool = True) -> list[Any]:
        found = self.dataset._batch(indices, keep)
        return [one if one is SKIPPED else call("map", self.function, one) for one in found]

    def _shares(self, indices: Sequence[SupportsIndex]) -> list[tuple[Any, list[int]]] | None:
        return shares_of(self.dataset, indices) if type(self) is Mapped else None

    def get_metadata(self, index: SupportsIndex) -> Any:
        """As the dataset's. Raises IndexError."""
        return self.dataset.get_metadata(index)

    @property
    def lengths(self) -> Tensor:
        """int64 [N]: as the dataset's, before the function."""
        return self.dataset.lengths

    @property
    def speakers(self) -> list[str]:
        """As the dataset's."""
        return self.dataset.speakers

    @property
    def metadata(self) -> pa.Table:
        """As the dataset's."""
        return self.dataset.metadata


class Joined(Made[Any], ConcatDataset[Any]):
    """Datasets end to end: a torch `ConcatDataset` that keeps batches. Made by `a + b` and `concat`."""

    def __init__(self, datasets: Any) -> None:
        """Raises InvalidArgument, as `concat`."""
        given: list[Dataset[Any]] = []
        for one in datasets if isinstance(datasets, Iterable) and not isinstance(datasets, Dataset) else [datasets]:
            if not hasattr(one, "__getitem__") or not hasattr(one, "__len__") or isinstance(one, (str, bytes)):
                raise InvalidArgument(
                    f"concat() takes a list of datasets with an index and a length, not {type(one).__name__}; "
                    "several corpora make one dataset: EncryptedAudioDataset(['voice-a', 'voice-b'])"
                )
            if isinstance(one, IterableDataset):
                raise InvalidArgument("concat() cannot number the rows of an IterableDataset: chain them in a loop")
            given += one.datasets if isinstance(one, Joined) else [one]
        if not given:
            raise InvalidArgument("concat() needs at least one dataset")
        self.datasets = given

    def __repr__(self) -> str:
        if not hasattr(self, "datasets"):  # `concat` raised
            return "<no datasets joined>"
        return f"<{len(self.datasets)} datasets joined: {len(self)} recordings>"

    def _sources(self) -> list[Recordings[Any]]:
        return sources_of(self.datasets)

    @property
    def cumulative_sizes(self) -> list[int]:  # type: ignore[override]  # torch's is fixed; a refresh changes ours
        """Where each dataset ends: by its length now."""
        return list(accumulate(len(one) for one in self.datasets))  # type: ignore[arg-type]  # looked at when made

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: SupportsIndex) -> Any:
        self.check_rows()
        [(dataset, i)] = self._places([index])
        return dataset[i]

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[Any]:
        """A batch, in order: each dataset reads its share at once."""
        return without_skipped(self._batch(indices))

    def _batch(self, indices: Sequence[SupportsIndex], keep: bool = True) -> list[Any]:
        self.check_rows()
        places = self._places(indices)
        found: list[Any] = [None] * len(places)
        for dataset in {id(dataset): dataset for dataset, _ in places}.values():
            mine = [at for at, place in enumerate(places) if place[0] is dataset]
            for at, sample in zip(mine, _items(dataset, [places[at][1] for at in mine]), strict=True):
                found[at] = sample
        if keep and found and all(one is SKIPPED for one in found):
            found[:1] = _items(places[0][0], [places[0][1]], keep)
        return found

    def _shares(self, indices: Sequence[SupportsIndex]) -> list[tuple[Any, list[int]]] | None:
        if type(self) is not Joined:
            return None
        places = self._places(indices)
        found: list[tuple[Any, list[int]]] = []
        for dataset in {id(dataset): dataset for dataset, _ in places}.values():
            its = shares_of(dataset, [i for one, i in places if one is dataset])
            if its is None:
                return None
            found += its
        return found

    def _places(self, indices: Sequence[SupportsIndex]) -> list[tuple[Dataset[Any], int]]:
        ends = self.cumulative_sizes
        places = []
        for index in indices:
            i = row_of(index, ends[-1])
            which = bisect_right(ends, i)
            places.append((self.datasets[which], i - (ends[which - 1] if which else 0)))
        return places

    def get_metadata(self, index: SupportsIndex) -> Any:
        """What is known of a recording. Raises IndexError, and InvalidArgument if its dataset does not know."""
        self.check_rows()
        [(dataset, i)] = self._places([index])
        return _known(dataset, "get_metadata")(i)

    @property
    def lengths(self) -> Tensor:
        """int64 [N]: those of all. Raises InvalidArgument if a dataset does not know."""
        return torch.cat([torch.as_tensor(_known(one, "lengths"), dtype=torch.int64) for one in self.datasets])

    @property
    def speakers(self) -> list[str]:
        """Every speaker once, sorted. Raises InvalidArgument if a dataset does not know."""
        return sorted({name for one in self.datasets for name in _known(one, "speakers")})

    @property
    def metadata(self) -> pa.Table:
        """The columns of all manifests, row i for number i. Raises InvalidArgument if a dataset has none."""
        return pa.concat_tables([_known(one, "metadata") for one in self.datasets])


def shares_of(dataset: Any, indices: Sequence[Any]) -> list[tuple[Any, list[int]]] | None:
    """As `Recordings._shares`, also for a `Subset` of them."""
    if type(dataset) is Subset:
        return shares_of(dataset.dataset, [dataset.indices[i] for i in indices])
    return dataset._shares(indices) if isinstance(dataset, Recordings) else None


def without_skipped(samples: Sequence[Any]) -> list[Any]:
    """The samples of a batch that are there."""
    return [sample for sample in samples if sample is not SKIPPED]


def _items(dataset: Dataset[Any], indices: Sequence[Any], keep: bool = False) -> list[Any]:
    if isinstance(dataset, Recordings):
        return dataset._batch(indices, keep)
    fetch = getattr(dataset, "__getitems__", None)
    return list(fetch(indices)) if fetch else [dataset[i] for i in indices]


def _known(dataset: Dataset[Any], name: str) -> Any:
    try:
        return getattr(dataset, name)
    except AttributeError:
        raise InvalidArgument(f"a {type(dataset).__name__} among the joined datasets has no {name}") from None


def sources_of(datasets: Iterable[Dataset[Any]]) -> list[Recordings[Any]]:
    """The datasets of this package that some are made of, each once."""
    found: dict[int, Recordings[Any]] = {}
    for one in datasets:
        for source in one._sources() if isinstance(one, Made) else [one]:
            if isinstance(source, Recordings):
                found[id(source)] = source
    return list(found.values())
