"""The half of the filesystem that writes: files, copies, moves and removals as rows, each call one commit.

A corpus has no empty folders, so making one does nothing, as on object stores.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator, Sequence
from glob import has_magic
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.compression import compr
from fsspec.core import get_compression

from securedata.corpus.objects.put import Put
from securedata.corpus.option_values import as_texts
from securedata.corpus.schema import check_path
from securedata.errors import InvalidArgument, IsAFolder, NoSuchPath
from securedata.filesystem.opened import note_commit, open_writer
from securedata.filesystem.refused import refused
from securedata.filesystem.writing.batch import SMALL, Batch
from securedata.filesystem.writing.batches import Batches
from securedata.filesystem.writing.file import Compressed, WrittenFile, WrittenText
from securedata.filesystem.writing.pending import check_writable_mode
from securedata.filesystem.writing.transaction import CommitTogether, InTransactions
from securedata.ingest.sources.path_rule import checked_subjects, columns_by_rule

_PIECE = 4 * 1024 * 1024
_TEXT = ("encoding", "errors", "newline")


class Writing(InTransactions):
    """What writes, for a filesystem with `writable=True`; without it everything here raises OSError (EROFS).

    Every call is one commit for each corpus that it changes, whatever the number of files (`put` commits every 10,000
    files or 4 GB), and a transaction is one commit for all of its calls. A commit changes everything or nothing.
    """

    writable: bool
    single_writer: bool
    subject: list[str] | None

    # ------------------------------------------------------------ what a write needs

    def _check_writable(self) -> None:
        if not self.writable:
            raise refused(
                OSError(
                    errno.EROFS,
                    "securedata:// was opened read-only, and nothing was changed: open it with writable=True, or add "
                    "recordings with 'securedata encrypt SRC NAME'",
                )
            )

    def _in_corpus(self, path: Any) -> tuple[str, str]:
        """The target and the logical path of a path that is to be written.

        Raises:
            OSError: (EROFS) the filesystem is read-only.
            IsAFolder: it is a corpus, or the list of corpora.
            InvalidArgument: no row can have the path.
        """
        self._check_writable()
        path = self._strip_protocol(path)
        if self._is_top(path):
            raise IsAFolder("the path is a corpus, and a file in it is needed", path=path)
        target, _, inner = self._split(path)
        return target, check_path(inner)

    def _new_batch(self, target: str) -> Batch:
        self._check_writable()
        reference = self._reference(target)
        opened = open_writer(reference, self.single_writer)
        return Batch(opened.writer, opened.lock, lambda: note_commit(reference))

    @contextlib.contextmanager
    def _together(self, batches: Batches | None = None) -> Iterator[Batches]:
        """The batches of the call around this one, or of the transaction; otherwise new ones, committed at the end."""
        self._check_writable()
        if batches is not None:
            yield batches
        elif (transaction := CommitTogether.of(self)) is not None:
            yield transaction.batches
        else:
            batches = Batches(self._new_batch)
            try:
                yield batches
                batches.commit()
            finally:
                batches.discard()

    def _look_again(self, batches: Batches, paths: Any) -> None:
        """Have what is found next below these paths be of the current head: what another process has added since this
        one looked is copied, moved or removed as well."""
        for path in [self._strip_protocol(one) for one in (paths if isinstance(paths, (list, tuple)) else [paths])]:
            if self._root is None and (not path or has_magic(path.partition("/")[0])):
                continue
            target = self._split(path)[0]
            if batches.of(target).generation != self._corpus(target).generation:
                note_commit(self._reference(target))

    def _place_once(self, placed: set[str] | None, path: Any) -> None:
        """Note that a call puts a file under a path. None: only one file is put.

        Raises:
            InvalidArgument: the call has put another file there, which would be lost.
        """
        if placed is None:
            return
        path = self._strip_protocol(path)
        if path in placed:
            raise refused(
                InvalidArgument(
                    "two of the files would have one path, and one of them would be lost; nothing since the last "
                    "commit was committed: name a target for each"
                )
            )
        placed.add(path)

    def _columns(self, target: str, path: str, subject: Any) -> dict[str, Any]:
        """The columns that say whose file it is. Raises SubjectUnknown, InvalidArgument"""
        if subject is not None:
            return {"subjects": checked_subjects(as_texts("subject", subject))}
        if self.subject is not None:
            return {"subjects": self.subject}
        opened = open_writer(self._reference(target), self.single_writer)
        return columns_by_rule(path, opened.writer.head.settings, opened.writer.root)

    # ------------------------------------------------------------ files

    def open(
        self,
        path: Any,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """A file to read or to write: binary, or text if `mode` has no "b".

        A file that is written is sealed as it is written, in bounded memory, and is in the corpus once `close` has
        returned, in place of the one that had the path. If the `with` block raises, nothing is committed. Options:
        `subject`, a name or a list of names of the people recorded in it; by default the filesystem's, then the rule of
        the corpus over paths. Unknown options are ignored, as is usual in fsspec.

        Raises:
            NoSuchPath, IsAFolder, PlaintextRefused, InvalidArgument, and what reading an object raises
            OSError: (EROFS) the filesystem is read-only.
            FileExistsError: mode "xb", and there is such a file.
            SubjectUnknown, SubjectErased, SubjectHeld, RowReplaced, and what a commit raises: see docs/fsspec.md
        """
        if not set(mode) - set("rbt"):
            kwargs["asked_by_open"] = True
            return super().open(path, mode, block_size, cache_options, compression, **kwargs)
        if not kwargs.get("autocommit", True) and not self._intrans:
            raise InvalidArgument("autocommit=False needs a transaction that commits the file: 'with fs.transaction:'")
        text = {name: kwargs.pop(name) for name in _TEXT if name in kwargs}
        binary = mode.replace("t", "").replace("b", "") + "b"
        file = super().open(path, binary, block_size, cache_options, None, **kwargs)
        compression = get_compression(self._strip_protocol(path), compression)
        if compression is not None:
            file = Compressed(compr[compression](file, mode="w"), file)
        return file if "b" in mode else WrittenText(file, **text)

    def _open_written(
        self,
        path: str,
        mode: str,
        autocommit: bool = True,
        subject: Any = None,
        batches: Batches | None = None,
        mtime_ns: int | None = None,
    ) -> WrittenFile:
        target, inner = self._in_corpus(path)
        exclusive = check_writable_mode(mode)
        transaction = None if autocommit or batches is not None else CommitTogether.of(self)
        shared = batches if transaction is None else transaction.batches
        batch = self._new_batch(target) if shared is None else shared.of(target)
        columns = self._columns(target, inner, subject)
        batch.name(inner, columns["subjects"], exclusive, fresh=shared is None)
        opened = open_writer(self._reference(target), self.single_writer)

        def take(content: bytes | Put) -> None:
            said = {**columns, "source_mtime_ns": time.time_ns() if mtime_ns is None else mtime_ns}
            if isinstance(content, bytes):
                batch.write(inner, said, content)
            else:
                batch.place(inner, said, content)

        return WrittenFile(path, mode, opened.writer, take, shared is None, batch.commit, batch.delete)

    def pipe_file(self, path: Any, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        """Write bytes to a path; with mode "create" only if it is new. Raises as `open`."""
        with self.open(path, "xb" if mode == "create" else "wb", **kwargs) as file:
            file.write(value)

    def pipe(self, path: Any, value: bytes | None = None, **kwargs: Any) -> None:
        """Write bytes to a path, or to each path of a dictionary, in one commit. Raises as `open`."""
        if isinstance(path, dict):
            placed = set[str]()
            for one in path:
                self._place_once(placed, one)
        with self._together(kwargs.pop("batches", None)) as batches:
            super().pipe(path, value, batches=batches, **kwargs)

    def put_file(
        self, lpath: Any, rpath: Any, callback: Any = DEFAULT_CALLBACK, mode: str = "overwrite", **kwargs: Any
    ) -> None:
        """Write a local file, with its time of modification. Raises as `open`."""
        self._check_writable()
        placed: set[str] | None = kwargs.pop("placed", None)
        if os.path.isdir(lpath):
            return
        self._place_once(placed, rpath)
        with self._together(kwargs.pop("batches", None)) as batches, open(lpath, "rb") as source:
            status = os.fstat(source.fileno())
            callback.set_size(status.st_size)
            kwargs["mtime_ns"] = status.st_mtime_ns
            with self.open(rpath, "xb" if mode == "create" else "wb", batches=batches, **kwargs) as file:
                while piece := source.read(_PIECE):
                    file.write(piece)
                    callback.relative_update(len(piece))
            batches.commit_if_large()

    def put(
        self,
        lpath: Any,
        rpath: Any,
        recursive: bool = False,
        callback: Any = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Write local files. Raises as `open`; then nothing since the last commit was committed."""
        with self._together(kwargs.pop("batches", None)) as batches:
            super().put(lpath, rpath, recursive, callback, maxdepth, batches=batches, placed=set(), **kwargs)

    def touch(self, path: Any, truncate: bool = True, **kwargs: Any) -> None:
        """Make an empty file. Raises as `open`; NotImplementedError for an existing one that is to keep its bytes."""
        self._check_writable()
        super().touch(path, truncate, **kwargs)

    # ------------------------------------------------------------ copies, moves, removals

    def cp_file(self, path1: Any, path2: Any, **kwargs: Any) -> None:
        """Copy a file within its corpus: sealed again under a key of its own, with its people, consent and words.

        Raises:
            NoSuchPath, InvalidArgument, and as `open`
        """
        with contextlib.suppress(NoSuchPath) if kwargs.get("leave_out") else contextlib.nullcontext():
            self._copy_file(path1, path2, **kwargs)

    def _copy_file(self, path1: Any, path2: Any, **kwargs: Any) -> None:
        moves: list[tuple[str, str]] | None = kwargs.get("moves")
        if moves is not None:
            moves.append((path1, path2))
            return
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if self.isdir(source):
            return  # its files make the folder
        self._place_once(kwargs.get("placed"), target)
        with self._together(kwargs.get("batches")) as batches:
            if "batches" not in kwargs:
                self._look_again(batches, source)
            corpus, inner = self._same_corpus(source, target)
            location = self._file(source)
            batch = batches.of(corpus)
            batch.name(inner, None, fresh=False)
            content = bytes(location.ranges()(0, location.size)) if location.size <= SMALL else location.pieces(_PIECE)
            if location.written is not None:
                batch.copy(location.inner, None, inner, content)
            else:
                index, row = location.snapshot.index, location.row or 0
                batch.copy(index.path(row), index.location(row).object_id, inner, content)
            batches.commit_if_large()

    def copy(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        on_error: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy files within a corpus, in one commit.

        Args:
            on_error: "ignore" leaves out files that are not there any more. Otherwise they are an error, with
                `recursive` too, as every other error is.

        Raises:
            as `cp_file`; then nothing since the last commit was committed
        """
        with self._together(kwargs.pop("batches", None)) as batches:
            self._look_again(batches, path1)
            kwargs |= {"batches": batches, "placed": set(), "leave_out": on_error == "ignore"}
            # fsspec's own "ignore", its default for `recursive`, ignores objects that storage lacks, too
            super().copy(path1, path2, recursive, maxdepth, "raise", **kwargs)

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any) -> None:
        """Rename files within their corpus, in one commit: the same objects, keys, people and words under other paths.

        Raises:
            NoSuchPath, InvalidArgument, and as `open`
        """
        with self._together() as batches:
            moves: list[tuple[str, str]] = []
            self._look_again(batches, path1)
            super().copy(path1, path2, recursive, maxdepth, "raise", moves=moves)
            found = [(self._strip_protocol(one), self._strip_protocol(other)) for one, other in moves]
            found = [(one, other) for one, other in found if one != other and not (recursive and self.isdir(one))]
            placed = {source for source, _ in found}  # and what moves away itself is not replaced
            for _, target in found:
                self._place_once(placed, target)
            for source, target in found:
                corpus, inner = self._same_corpus(source, target)
                batches.of(corpus).move(self._split(source)[2], inner)

    def _same_corpus(self, source: str, target: str) -> tuple[str, str]:
        corpus, inner = self._in_corpus(target)
        if self._in_corpus(source)[0] != corpus:
            raise InvalidArgument(
                "files are copied and moved within one corpus: 'securedata export NAME --to-corpus OTHER' hands "
                "recordings on to another, with their people and consent"
            )
        return corpus, inner

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files, in one commit; objects are deleted a day later, packed ones by `pack --compact`. Erases nobody.

        Raises:
            InvalidArgument: a whole corpus, recursively.
            NoSuchPath, IsAFolder, SubjectHeld, and as `open`
        """
        with self._together() as batches:
            paths = [self._strip_protocol(one) for one in (path if isinstance(path, (list, tuple)) else [path])]
            if any(self._is_top(one) for one in paths):
                raise refused(
                    InvalidArgument(
                        "a whole corpus is not removed through fsspec, and nothing was: 'securedata erase NAME --all' "
                        "erases everyone in it"
                    )
                )
            self._look_again(batches, paths)
            for one in self._files_of(paths, recursive, maxdepth):
                target, inner = self._in_corpus(one)
                batches.of(target).remove(inner)

    def _files_of(self, paths: Sequence[str], recursive: bool, maxdepth: int | None) -> list[str]:
        try:
            found = self.expand_path(list(paths), recursive=recursive, maxdepth=maxdepth)
        except NoSuchPath:
            raise NoSuchPath("no such file or folder; nothing was removed", path=paths[0] if paths else None) from None
        folders = [one for one in found if self.isdir(one)]
        if folders and not recursive:
            raise IsAFolder("the path is a folder: remove it with recursive=True", path=folders[0])
        return [one for one in found if one not in set(folders)]

    def rm_file(self, path: Any) -> None:
        """Remove a file. Raises as `rm`."""
        with self._together() as batches:
            target, inner = self._in_corpus(path)
            batches.of(target).remove(inner)

    def _rm(self, path: Any) -> None:
        self.rm_file(path)

    # ------------------------------------------------------------ folders

    def mkdir(self, path: Any, create_parents: bool = True, **kwargs: Any) -> None:
        """Do nothing: a folder exists while there are files in it.

        Raises:
            OSError: (EROFS) the filesystem is read-only.
            ConfigError: in place of a folder, a corpus of this name is needed: 'securedata init' makes one.
        """
        self._check_writable()
        self._is_top(self._strip_protocol(path))

    def makedirs(self, path: Any, exist_ok: bool = False) -> None:
        """Do nothing, as `mkdir`. Raises as `mkdir`."""
        self.mkdir(path)

    def rmdir(self, path: Any) -> None:
        """Do nothing for a folder that is not there, as an empty one is not.

        Raises:
            OSError: (ENOTEMPTY) there are files in it; (EROFS) the filesystem is read-only.
        """
        self._check_writable()
        if self.isdir(path):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
