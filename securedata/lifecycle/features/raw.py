"""Erase the recordings whose features are kept: the end of the source corpus."""

from __future__ import annotations

from dataclasses import replace

from securedata.corpus.config import Reference
from securedata.corpus.writer import Writer
from securedata.errors import CorpusError
from securedata.lifecycle.erasure.erase import Erased, Options, erase, finish_open, open_to_erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.features.computing import Source
from securedata.lifecycle.features.rows import to_compute
from securedata.printable import plural


def erase_recordings(source: Reference, target: Writer, *, purpose: str | None, single_writer: bool) -> Erased:
    """Erase all recordings of a corpus, each of which must have features that fit it by now.

    An erasure that was interrupted is finished first.

    Args:
        target: the corpus of features.
        purpose: what recordings were read for.

    Raises:
        CorpusError: a recording has no features; nothing was erased.
        as `erase`
    """
    writer = open_to_erase(source, single_writer=single_writer)
    finished = finish_open(writer)
    target.refresh()
    with Source(source, purpose=purpose) as now:
        rows = writer.refresh().rows
        missing = len(to_compute(now.corpora[0], target)[0]) + rows - len(now)
    if missing:
        raise CorpusError(
            f"{plural(missing, 'recording')} of {source.root} have no features in {target.root}: they were added "
            "meanwhile, or are left out because of consent or a restriction; nothing was erased: run it again, or "
            f"erase all the same with 'securedata erase {source.name or source.root} --all --yes {rows}'",
            root=source.root,
        )
    done = erase(writer, Request("all"), Options(all_rows=rows))
    return replace(done, receipts=(*finished, *done.receipts))
