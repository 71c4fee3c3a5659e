"""Where a derived corpus is, beside its source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from securedata.corpus.config import Reference, normal_root
from securedata.corpus.create import CreateReport, create_corpus
from securedata.corpus.notices import log_notice
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument


def refuse_inside(source: Reference, target: Reference) -> None:
    """Refuse one corpus inside the other: each would find the other's objects among its own.

    Raises:
        InvalidArgument
    """
    one, other = (f"{root.rstrip('/')}/" for root in (source.root, normal_root(target.root)))
    if one != other and (one.startswith(other) or other.startswith(one)):
        raise InvalidArgument(
            f"{target.root} and {source.root} lie inside each other: choose another place", root=target.root
        )


def open_target(source: Writer, target: Reference, *, single_writer: bool) -> Writer:
    """A derived corpus that exists, opened for writing.

    Raises:
        InvalidArgument: it is the source itself.
        as `Writer`
    """
    writer = Writer(target, single_writer=single_writer)
    if writer.corpus_id == source.corpus_id:
        raise InvalidArgument(f"{target.root} is the corpus of the recordings itself: name another", root=target.root)
    return writer


def make_target(target: Reference, name: str | None, *, single_writer: bool) -> tuple[CreateReport, Writer]:
    """Make a derived corpus in a new or empty place. Raises as `create_corpus`."""
    root = normal_root(target.root)
    created = create_corpus(root, name or target.name, kms=target.kms, single_writer=single_writer)
    return created, Writer(created.reference, single_writer=single_writer)


@contextmanager
def naming_new(created: CreateReport | None) -> Iterator[None]:
    """If the run ends early, name the corpus that was created for it."""
    try:
        yield
    except BaseException:  # raised again, Ctrl-C too
        if created is not None:
            log_notice(
                f"the new corpus {created.name!r} at {created.root} stays, with its key; run it again for the rest"
            )
        raise
