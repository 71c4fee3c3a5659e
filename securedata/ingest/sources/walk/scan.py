"""List the recordings under a folder.

Files with the suffix of a recording or of a companion are not opened, so a hundred thousand files take about a second;
of all others the first bytes are read.

Symbolic links to files are followed. Links to folders are followed too, after all real folders, and no folder is
entered twice: loops end there, and a recording is named by its real place, whatever links to it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from securedata.errors import InvalidArgument
from securedata.ingest.sources.origin import LocalOrigin, Stamp
from securedata.ingest.sources.walk.exclude import Exclusions, Inclusions
from securedata.ingest.sources.walk.listing import close, count_by_name, finish, refuse, take
from securedata.ingest.sources.walk.names import NARROW, is_misread, is_utf8, printable
from securedata.ingest.sources.walk.tree import Closed, Problem, Tree, closed_by


def scan(
    src: str | os.PathLike[str],
    leave_out: Sequence[str] = (),
    corpus: str | None = None,
    include: Sequence[str] = (),
) -> Tree:
    """List the recordings under `src`.

    Args:
        leave_out: patterns of paths under `src`; '*' matches any text, '/' included.
        corpus: the folder of the corpus that they go to, whose files are left out.
        include: patterns of files that are taken as they are, though they are no recordings.

    Raises:
        InvalidArgument: `src` is not a folder, or two of its files have the same logical path.
    """
    root = os.path.abspath(os.fspath(src))
    if not is_utf8(root):
        advice = f"is not valid UTF-8 in this locale; {NARROW}" if is_misread(root) else "is not valid UTF-8; rename it"
        raise InvalidArgument(f"{printable(root)}: the folder's name {advice}")
    if not os.path.isdir(root):
        what = "is a file, not a folder" if os.path.exists(root) else "does not exist"
        raise InvalidArgument(f"{root} {what}: name the folder that holds the recordings")
    tree = Tree(LocalOrigin(root), exclusions=Exclusions(leave_out, corpus), inclusions=Inclusions(include))
    seen: dict[tuple[int, int], str] = {}
    folders, links = [""], list[str]()
    while folders or links:
        if not folders:
            links.sort(reverse=True)
        folder = folders.pop() if folders else links.pop()
        where = os.path.join(root, folder) if folder else root
        try:
            status = os.stat(where)
            first = seen.setdefault((status.st_dev, status.st_ino), folder)
            if first != folder:
                reason = f"a link to {printable(first) or 'SRC itself'}, where its recordings are taken"
                tree.problems.append(Problem(printable(folder), reason, taken=True))
                continue
            if tree.exclusions.corpus == (status.st_dev, status.st_ino):
                below = sum(len(files) for _, _, files in os.walk(where))
                tree.files += below
                tree.left_out += below
                continue
            closed = closed_by(folder)
            if closed is not None and not tree.exclusions.match(f"{folder}/"):
                close(tree, closed)  # even if it is empty
            with os.scandir(where) as entries:
                for entry in entries:
                    _take(tree, entry, f"{folder}/{entry.name}" if folder else entry.name, closed, folders, links)
        except OSError as error:
            tree.problems.append(Problem(printable(folder or root), f"folder cannot be listed: {error.strerror}"))
    finish(tree)
    return tree


def _take(
    tree: Tree, entry: os.DirEntry[str], name: str, closed: Closed | None, folders: list[str], links: list[str]
) -> None:
    # unlike entry.is_dir(), os.path.isdir() is False for links in a circle
    link = entry.is_symlink() and os.path.isdir(entry.path)
    if not link and not entry.is_dir(follow_symlinks=False):
        if count_by_name(tree, name, entry.name, closed):
            _take_file(tree, entry, name)
    elif entry.name.startswith("."):
        _hide(tree, name, "" if link else entry.path)
    else:
        (links if link else folders).append(name)


def _hide(tree: Tree, name: str, path: str) -> None:
    """Count what is in a hidden folder."""
    closed = Closed(printable(name), "")
    close(tree, closed)
    tree.exclusions.match(f"{name}/")  # marks a matching pattern as used; the folder still counts as hidden
    for folder, _, files in os.walk(path) if path else ():
        for file in files:
            count_by_name(tree, f"{name}{folder[len(path) :]}/{file}", file, closed)


def _take_file(tree: Tree, entry: os.DirEntry[str], name: str) -> None:
    try:
        status = entry.stat()
    except OSError as error:
        refuse(tree, name, "link leads nowhere" if entry.is_symlink() else f"cannot be looked at: {error.strerror}")
        return
    if not stat.S_ISREG(status.st_mode):
        refuse(tree, name, "not a regular file")
        return
    take(tree, name, Stamp(status.st_size, status.st_mtime_ns))
