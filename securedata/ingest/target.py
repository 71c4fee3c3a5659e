"""The corpus that an ingest writes to: an existing one, or a new one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property

import pyarrow as pa

from securedata.corpus.config import Reference, resolve
from securedata.corpus.create import interrupted, is_empty, refuse_full
from securedata.corpus.opening import open_manifest
from securedata.corpus.reader import Corpus
from securedata.corpus.state.layout import HEAD
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument
from securedata.ingest.preview import COLUMNS
from securedata.ingest.sources.members import naming


def find_target(
    target: str | os.PathLike[str] | Reference,
    kms: str | Sequence[str] | None,
    pin: str | Sequence[str] | None,
    name: str | None,
    start_over: bool = False,
) -> tuple[Reference, bool]:
    """Resolve the target, and whether the corpus exists; if not, its place is new or empty.

    A name that is not in the config is an error, not a new folder: it might be a typo.

    Args:
        start_over: the corpus at the target was deleted for good.

    Raises:
        InvalidArgument: the corpus exists under another name than `name`.
        CorpusExists: `start_over`, and something is there.
        ConfigError, StorageError
    """
    found = resolve(target, kms, pin)
    if start_over:
        refuse_full(found)
        return found, False
    there = _is_there(found)
    if there and name and name != found.name:
        known = f"is known as {found.name!r}" if found.name else "has no name in the config"
        raise InvalidArgument(
            f"the corpus at {found.root} exists already and {known}: leave out --name, which is for a new corpus",
            root=found.root,
        )
    return found, there


def _is_there(found: Reference) -> bool:
    """Whether there is a corpus. Also true if one is gone, so that the writer explains it and none takes its place."""
    if found.pins and not interrupted(found):
        return True
    # a run that was killed right after it wrote the head has left a corpus, too
    if "://" in found.root or found.options:
        return not is_empty(found)
    return os.path.isdir(found.root) and HEAD in os.listdir(found.root)


class Existing:
    """The corpus that a run extends, opened when it is first needed."""

    def __init__(self, reference: Reference, dry_run: bool, single_writer: bool, accept_generation: int | None) -> None:
        self.reference = reference
        self._dry_run, self._single_writer, self._accept_generation = dry_run, single_writer, accept_generation

    @cached_property
    def corpus(self) -> Corpus:
        """All of its rows, to be compared. Raises like `open_manifest`, or PinRequired."""
        self.reference.require_pin()  # the run needs it, although reading does not
        return open_manifest(self.reference, columns=COLUMNS, accept_generation=self._accept_generation)

    @cached_property
    def writer(self) -> Writer:
        """It, opened for writing. Raises like `Writer`."""
        return Writer(self.reference, single_writer=self._single_writer, accept_generation=self._accept_generation)

    def read_rows(self) -> Iterator[pa.Table]:
        """All of its rows, with the columns that naming needs."""
        if self._dry_run:
            return iter((self.corpus.table,))
        writer = self.writer
        return (writer.read_table(part, naming.COLUMNS) for part in writer.head.parts)

    def close(self) -> None:
        """Close what is open for reading."""
        if "corpus" in self.__dict__:
            self.corpus.close()
