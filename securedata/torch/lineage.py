"""What models were trained with: `ds.lineage()`, and `save_lineage`, which writes it beside a model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch.utils.data import DataLoader, Dataset

from securedata.errors import InvalidArgument
from securedata.lineage.files import find, save
from securedata.lineage.record import Entry, Lineage, from_json, joined, new_id

Base = str | os.PathLike[str] | Lineage | Mapping[str, Any]
"""A model that a training begins with: path or URL of it or of its record, or the record itself."""

_MANY = 10_000  # a longer list is of numbers, not of datasets


def save_lineage(
    data: Any, model: str | os.PathLike[str], *, base: Base | Sequence[Base] | None = None, complete: bool = True
) -> str:
    """Write beside a model with which sealed recordings it was trained, so that a person can be looked for later.

    The record is `model.pt.lineage.json`, or `securedata.lineage.json` in a model that is a folder; an earlier record
    of the same model is replaced. It is personal data: see docs/lineage.md.

    Args:
        data: a dataset, a DataLoader, or a list of these; what they are made of is looked through for sealed datasets.
        model: path or URL of the model's file, which may be written later, or of its folder.
        base: the models that the training began with, each by path or URL or as a record; None: it began with none.
        complete: False if it began with a model that has no record.

    Returns:
        Path or URL of the record.

    Raises:
        InvalidArgument: no sealed dataset among the data, or a base without a record; in a worker of a DataLoader.
        AlreadyExists: a file that is no lineage record has its name.
        MalformedLineage: the record of a base cannot be read.
        LimitExceeded: the record would be too large.
        StorageError

    Example:
        sd.save_lineage(ds, "asr.pt")
        sd.save_lineage(ds, "tuned.pt", base="asr.pt")  # trained on from there
    """
    return save(lineage_of(data, base, complete), os.fspath(model))


def lineage_of(data: Any, base: Base | Sequence[Base] | None = None, complete: bool = True) -> Lineage:
    """The record of datasets. Arguments and errors are those of `save_lineage`."""
    parts = data if isinstance(data, (list, tuple)) else [data]
    sources: dict[int, Any] = {}
    for part in parts:
        found = {id(one): one for one in _sealed(part, set())}
        if not found:
            raise InvalidArgument(
                f"no sealed dataset in a {type(part).__name__}: give the EncryptedAudioDataset or "
                "EncryptedFeatureDataset that was trained with, or what is made of it"
            )
        sources |= found
    if not sources:
        raise InvalidArgument("a lineage record needs at least one dataset")
    bases = [_base(one) for one in several_bases(base)]
    id_ = new_id()
    own = list(dict.fromkeys(entry for one in sources.values() for entry in one.lineage_entries(id_)))
    kept = [_without_repeated(one, own, sources.values()) for one in bases]
    return joined(id_, own, kept, complete)


def _sealed(value: Any, seen: set[int]) -> Iterator[Any]:
    """The sealed datasets that something is made of: through lists, loaders and the attributes of other datasets."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if hasattr(value, "lineage_entries"):
        yield value
        return
    if isinstance(value, Mapping):
        inner = list(value.values())
    elif isinstance(value, (list, tuple)):
        inner = list(value) if len(value) <= _MANY else []
    else:
        inner = list(getattr(value, "__dict__", {}).values())
    for one in inner:
        if isinstance(one, (Dataset, DataLoader, Mapping, list, tuple)):
            yield from _sealed(one, seen)


def several_bases(base: Base | Sequence[Base] | None) -> list[Base]:
    """The models of an argument `base`."""
    if base is None:
        return []
    return list(base) if isinstance(base, (list, tuple)) else [base]  # type: ignore[list-item]  # no other sequence


def _base(base: Any) -> Lineage:
    if isinstance(base, Lineage):
        return base
    if isinstance(base, Mapping):
        return from_json(dict(base))
    found = find(os.fspath(base))
    if found is None:
        raise InvalidArgument(
            "a model that the training begins with has no lineage record beside it: bring its record there, or leave "
            "the model out and pass complete=False, so that the new record says so"
        )
    return found


def _without_repeated(base: Lineage, own: Sequence[Entry], sources: Any) -> Lineage:
    """The record without the entries that say the same as ours: resuming again and again must not make it grow."""

    def repeated(entry: Entry) -> bool:
        if all(replace(one, record=entry.record, people=entry.people) != entry for one in own):
            return False
        return any(entry in one.lineage_entries(entry.record) for one in sources)

    return replace(base, entries=tuple(entry for entry in base.entries if not repeated(entry)))
