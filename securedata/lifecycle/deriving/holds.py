"""A hold travels with what is made from the recordings: otherwise its rows could be erased in the derived corpus.

`hold add` reaches corpora that are registered by then. Holds that were there before are carried over when their rows
are, and once more at the end of a run, for those that came in between.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pyarrow.compute as pc

from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.lifecycle import Hold
from securedata.corpus.writer import Writer
from securedata.keys.tags import Tagger
from securedata.lifecycle.holds.notes import Note, keep_note, read_notes


def carry_holds(source: Writer, target: Writer, names: Iterable[str]) -> int:
    """Hold those people in the derived corpus who are held in its source, by the newest head of it that was seen.

    Notes of the operator come along where this machine has them.

    Args:
        names: the people of rows of the derived corpus.

    Returns:
        How many holds are new.

    Raises:
        ConfigError: a note cannot be written.
        as `Writer.transact`
    """
    cases: dict[bytes, list[str]] = defaultdict(list)
    for one in source.head.holds:
        cases[one.tag].append(one.case)
    if not cases:
        return 0
    theirs, ours = Tagger(source.head.secret), Tagger(target.head.secret)
    wanted = {(ours.tag(name), case): name for name in names for case in cases.get(theirs.tag(name), ())}
    known = {(one.tag, one.case) for one in target.head.holds}
    notes = read_notes(source.corpus_id) if wanted.keys() - known else {}
    for (tag, case), name in wanted.items():
        note = notes.get((theirs.tag(name), case))
        if note is not None and (tag, case) not in known:  # before the commit, as in `add_hold`
            keep_note(target.corpus_id, Note(tag, case, name, note.reason))

    def change(attempt: Try) -> Next[int]:
        there = {(one.tag, one.case) for one in attempt.head.holds}
        new = [Hold(tag, case, attempt.now()) for tag, case in wanted if (tag, case) not in there]
        return Next(len(new), {"holds": (*attempt.head.holds, *new)} if new else None)

    return target.transact(change) if wanted.keys() - known else 0


def carry_holds_of_all(source: Writer, target: Writer) -> int:
    """As `carry_holds`, of all people in the derived corpus, by the current head of its source."""
    if not source.refresh().holds:
        return 0
    columns = (target.read_table(part, ("subjects",)).column("subjects") for part in target.refresh().parts)
    names = {name for column in columns for name in pc.unique(column.combine_chunks().flatten()).to_pylist()}
    return carry_holds(source, target, names)
