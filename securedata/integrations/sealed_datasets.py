"""Datasets of Hugging Face that do not write themselves to a disk. Import it only where `datasets` is installed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import update_wrapper
from typing import Any

import datasets

from securedata.errors import PlaintextRefused
from securedata.filesystem.refused import refused
from securedata.integrations.huggingface import AUDIO, Recordings

WRITERS = (
    *("save_to_disk", "to_csv", "to_json", "to_parquet", "to_sql", "push_to_hub"),
    *("_push_parquet_shards_to_hub", "_write_parquet_shards"),  # how DatasetDict and Buckets write
)
"""Methods that write the manifest's text, and what `map` decoded, to a disk or a server."""

MADE = (
    *("map", "filter", "select", "sort", "shuffle", "train_test_split", "shard", "skip", "take", "repeat", "batch"),
    *("flatten", "flatten_indices", "cast", "cast_column", "rename_column", "rename_columns", "remove_columns"),
    *("select_columns", "add_column", "add_item", "class_encode_column", "align_labels_with_mapping", "with_format"),
    *("with_transform", "to_iterable_dataset", "reshard", "decode"),
)
"""Methods that return a dataset of the same recordings."""

FILING = ("map", "cast", "flatten_indices")
"""Those that can keep what they made in a file."""


_TOGETHER = 32  # rows that iterating over a dataset reads at once


def seal(made: Any, export: bool) -> Any:
    """The same dataset, or a dictionary of them, as one of ours, which writes itself only with `export`."""
    if isinstance(made, dict):
        for one in made.values():
            seal(one, export)
    elif isinstance(made, datasets.IterableDataset):
        made.__class__, made.allow_plaintext_export = SealedIterableDataset, export
    elif isinstance(made, datasets.Dataset):
        made.__class__, made.allow_plaintext_export = SealedDataset, export
    return made


def _check(made: Any, call: str) -> None:
    if not made.allow_plaintext_export:
        raise refused(
            PlaintextRefused(
                f"{call} would write what was decrypted, the manifest's text included: if it may, make the dataset "
                "with to_hf(..., allow_plaintext_export=True)"
            )
        )


def _writing(kind: Any, name: str) -> Any:
    method = getattr(kind, name)

    def write(self: Any, *args: Any, **options: Any) -> Any:
        _check(self, f"{name.strip('_')}()")
        return method(self, *args, **options)

    return update_wrapper(write, method)


def _making(kind: Any, name: str) -> Any:
    method = getattr(kind, name)
    signature = inspect.signature(method)

    def make(self: Any, *args: Any, **options: Any) -> Any:
        if name in FILING and signature.bind(self, *args, **options).arguments.get("cache_file_name"):
            _check(self, f"{name}(cache_file_name=...)")
        return seal(method(self, *args, **options), self.allow_plaintext_export)

    return update_wrapper(make, method)


def _sealing(kind: Any) -> Any:
    """Wrap the methods of a subclass's base that write, and those that return a dataset."""
    base = kind.__mro__[1]
    for names, wrap in ((WRITERS, _writing), (MADE, _making)):
        for name in names:
            if hasattr(base, name):
                setattr(kind, name, wrap(base, name))
    return kind


@_sealing
class SealedDataset(datasets.Dataset):
    """What `to_hf` returns, and what its methods make of it."""

    allow_plaintext_export: bool

    def _reads(self) -> bool:
        """Is audio fetched for each row that is asked for?"""
        return isinstance(self.format["format_kwargs"].get("transform"), Recordings)

    def __getitem__(self, key: Any) -> Any:
        # a transform may need all columns, so `datasets` would read the audio of each row for a sampler's lengths
        if isinstance(key, str) and key != AUDIO and self._reads():
            return self.with_format(None)[key]
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[Any]:
        if not self._reads():
            yield from super().__iter__()
            return
        for batch in self.iter(_TOGETHER):
            for values in zip(*batch.values(), strict=True):
                yield dict(zip(batch, values, strict=True))


@_sealing
class SealedIterableDataset(datasets.IterableDataset):
    """What `to_hf(..., streaming=True)` returns, and what its methods make of it."""

    allow_plaintext_export: bool


# ---------------------------------------------------------------- several datasets as one

COMBINED = (
    *("_concatenate_map_style_datasets", "_interleave_map_style_datasets"),
    *("_concatenate_iterable_datasets", "_interleave_iterable_datasets"),
)
"""What `concatenate_datasets` and `interleave_datasets` call, however they were imported."""


def _combining(combine: Any) -> Any:
    def make(combined: Any, *args: Any, **options: Any) -> Any:
        sealed = [one for one in combined if isinstance(one, SealedDataset | SealedIterableDataset)]
        made = combine(combined, *args, **options)
        if not sealed or any(made is one for one in combined):  # if all are empty it is the first
            return made
        return seal(made, all(one.allow_plaintext_export for one in sealed))

    return update_wrapper(make, combine)


def _guard_combined() -> None:
    """Have what is combined of sealed datasets sealed, too. Raises ImportError: `datasets` combines in another way."""
    for name in COMBINED:
        if not hasattr(datasets.combine, name):
            raise ImportError(
                f"securedata.to_hf() does not know how datasets {datasets.__version__} concatenates, so the result "
                "could write recordings to a disk: install the version that securedata's constraints-eco.txt names"
            )
        setattr(datasets.combine, name, _combining(getattr(datasets.combine, name)))


_guard_combined()
