"""Put the files of a listing into a tree, one at a time: counted, refused, or taken."""

from __future__ import annotations

import unicodedata

from securedata.ingest.sources.origin import SourceProblem, Stamp
from securedata.ingest.sources.walk.file_kinds import is_companion, is_table, is_tar
from securedata.ingest.sources.walk.names import printable, wrong_name
from securedata.ingest.sources.walk.tree import Closed, Problem, Tree, closed_by
from securedata.media.audio.probe import not_media
from securedata.media.audio.sniff import By, sniff
from securedata.media.audio.suffixes import is_audio


def take_listed(tree: Tree, name: str, stamp: Stamp) -> None:
    """Count a file of a listing without folders, such as a bucket's, and take it if it may be a recording."""
    folder, _, last = name.rpartition("/")
    if last and count_by_name(tree, name, last, closed_by(folder)):  # some tools leave 'folder/' as a marker
        take(tree, name, stamp)


def count_by_name(tree: Tree, name: str, last: str, closed: Closed | None) -> bool:
    """Count a file by its name alone.

    Args:
        last: the last part of its name.
        closed: the result of `closed_by` for its folder.

    Returns:
        Whether it may be a recording; it then counts only in `files` so far.
    """
    tree.files += 1
    left_out = tree.exclusions.match(name)
    if closed is not None and not left_out:
        close(tree, closed)
    if closed is not None and not closed.reason:
        tree.hidden += 1
    elif last.startswith("."):
        tree.hidden += 1
        tree.hidden_names.append(printable(name))
    elif left_out:
        tree.left_out += 1
    elif not is_audio(last) and closed is None and not wrong_name(last) and tree.inclusions.match(name):
        if is_companion(last) and not is_table(last):
            tree.companion_names.append(name)  # a layout or a manifest may read it all the same
        return True
    elif not is_audio(last) and is_companion(last):
        tree.companions += 1
        if is_table(last):
            tree.shards[name] = None
        elif closed is None and not wrong_name(last):
            tree.companion_names.append(name)
    elif closed is not None:
        tree.not_taken += 1
    elif wrong := wrong_name(last):
        refuse(tree, printable(name), wrong)
    else:
        return True
    return False


def close(tree: Tree, closed: Closed) -> None:
    """Report a folder once for everything in it."""
    if closed in tree.closed:
        return
    tree.closed.add(closed)
    if closed.reason:
        tree.problems.append(Problem(closed.name, closed.reason))
    else:
        tree.hidden_names.append(closed.name)


def refuse(tree: Tree, name: str, reason: str) -> None:
    """Report a file that was counted and cannot be taken."""
    tree.not_taken += 1
    tree.problems.append(Problem(name, reason))


def take(tree: Tree, name: str, stamp: Stamp) -> None:
    """Add a recording to the tree, or set aside a file whose name does not tell whether it is one."""
    if is_audio(name):
        add(tree, name, stamp)
    elif tree.inclusions.match(name):
        if not stamp.size:
            refuse(tree, printable(name), "the file is empty")
            return
        add(tree, name, stamp)
        tree.included.add(tree.paths[-1])
    elif is_tar(name):
        tree.shards[name] = stamp
    else:
        tree.unknown.append((name, stamp))


def add(tree: Tree, name: str, stamp: Stamp) -> None:
    """Add a recording that was counted."""
    tree.paths.append(name if name.isascii() else unicodedata.normalize("NFC", name))
    tree.names.append(name)
    tree.sizes.append(stamp.size)
    tree.mtimes.append(stamp.mtime_ns)
    tree.versions.append(stamp.version)


def finish(tree: Tree) -> None:
    """End a listing: look into unknown files, report unused patterns, and sort.

    Raises:
        InvalidArgument: two files have the same logical path.
        StorageError: the origin cannot be read.
    """
    look_into_unknown(tree)
    reason = "no file matches this pattern of --leave-out"
    tree.problems += [Problem(printable(pattern), reason, taken=True) for pattern in tree.exclusions.unused()]
    reason = "no file that is not a recording matches this pattern of --include"
    tree.problems += [Problem(printable(pattern), reason, taken=True) for pattern in tree.inclusions.unused()]
    tree.sort()


def look_into_unknown(tree: Tree) -> None:
    """Tell recordings among the unknown files by their first bytes.

    Raises:
        StorageError: the origin cannot be read.
    """
    for name, stamp in tree.unknown:
        file = tree.origin.file(name)
        try:
            kind = sniff(lambda offset, length: tree.origin.peek(file, stamp, offset, length))  # noqa: B023 - at once
        except SourceProblem as problem:
            refuse(tree, name, str(problem))
            continue
        if kind is not None and kind.by is By.OTHER:
            tree.companions += 1
        elif kind is None or kind.by is By.NOTHING:
            refuse(tree, name, not_media(kind) if stamp.size else "the file is empty")
            tree.refused[name] = stamp
        else:
            add(tree, name, stamp)
    tree.unknown = []
