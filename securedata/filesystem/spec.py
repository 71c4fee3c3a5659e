"""`securedata://`: a corpus as an fsspec filesystem, read-only unless it is opened with `writable=True`.

With a name from the config, `securedata://voice-a/spk/utt.flac`: names are the folders at the top, as
buckets are in S3, and a URL means the same to every instance. With `root=`, a filesystem is one
corpus, and paths (and what follows `securedata://`) are relative to that root.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Sequence
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.config import apply_config
from fsspec.utils import read_block

from securedata.corpus.option_values import as_flag, as_texts
from securedata.errors import InvalidArgument, PlaintextRefused
from securedata.files import NEW, make_folders, put_in_place, temporary_name
from securedata.filesystem.file import SecuredataFile
from securedata.filesystem.listing import Listing
from securedata.filesystem.opened import forget_corpora
from securedata.filesystem.options import REFERENCES, absolute, chained_root, check_options, check_urls
from securedata.filesystem.refused import refused
from securedata.filesystem.writing.file import WrittenFile
from securedata.filesystem.writing.operations import Writing
from securedata.ingest.sources.path_rule import checked_subjects


def _own_target(path: str | os.PathLike[str], is_folder: bool = False) -> str:
    """Where a local path leads. A link that another user made is refused: it would choose what is overwritten.

    A link to a folder is followed if the owner of the folder that holds it made it, as administrators do.

    Raises:
        InvalidArgument
    """
    name = os.path.abspath(path)
    at = ""
    for part in name.split(os.sep)[1:]:
        above, at = at or os.sep, f"{at}{os.sep}{part}"
        if os.path.islink(at):
            trusted = {os.geteuid(), 0} | ({os.stat(above).st_uid} if is_folder or at != name else set())
            if os.lstat(at).st_uid not in trusted:
                text = "get(): the local path holds a link that another user made: remove it"
                raise refused(InvalidArgument(f"{text}, or name another path"))
    return os.path.realpath(name)


def _open_device(path: str) -> int:
    """A descriptor of a device or pipe; a file that replaced it meanwhile is neither created nor written.

    Raises:
        OSError
    """
    fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it was a device or pipe a moment ago", path)
    return fd


class _Absolute(type(Listing)):  # type: ignore[misc]  # fsspec's metaclass, which keeps instances by their arguments
    def __call__(cls, **options: Any) -> Any:
        options = apply_config(cls, options)
        if options.get("root") is not None:
            options["root"] = absolute(options["root"])
        return super().__call__(**options)


_WRITTEN = ("subject", "batches", "mtime_ns")  # options of a file that is written


class SecuredataFileSystem(Writing, metaclass=_Absolute):
    """A corpus, or all corpora that the config names, for tools that read and write through fsspec.

    What is read is decrypted in memory and stays there: a call that would write it to a local disk is refused.
    fsspec keeps instances and their arguments for the life of the process, so arguments are references, and a
    credential among them is refused. Pickles carry the same references, and never a key.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        kms: str | Sequence[str] | None = None,
        pin: str | Sequence[str] | None = None,
        allow_plaintext_export: bool = False,
        accept_generation: int | None = None,
        writable: bool = False,
        subject: str | Sequence[str] | None = None,
        single_writer: bool = False,
        **options: Any,
    ) -> None:
        """
        Args:
            root: the corpus that all paths are relative to: its name, a path or a URL. Without it the first part of a
                path is a name from the config.
            kms: KMS URIs that are trusted to unwrap its key; by default those from the config or SECUREDATA_KMS.
            pin: which corpus is meant; by default the pin from the config or SECUREDATA_PIN.
            allow_plaintext_export: let `get`, `cache_type="mmap"` and the caching filesystems write plaintext to disk.
                As text, from a URL or the environment: true, false, yes, no, on, off, 1, 0.
            accept_generation: for the corpus at `root`, as `open_corpus` takes it. Nothing is written to such a one.
            writable: let files be written, moved and removed; it needs the pin.
            subject: whose files are written: a name, or a list of names of the people recorded together. By default
                the rule over paths that the corpus records. fsspec keeps it with the other options, and prints it.
            single_writer: allow writing to storage where concurrent writers could lose rows; use it only if nobody else
                writes there.
            options: role, profile, region and endpoint_url of the root. Others are ignored, as tools pass some to any
                filesystem, but one that looks like a credential or like a misspelling of these is refused.

        Raises:
            InvalidArgument, ConfigError
            PinRequired: writing to `root` needs its pin.
        """
        references = check_options(options)
        chained, further = chained_root(options)
        references |= check_options({name: value for name, value in further.items() if name in REFERENCES})
        if chained is not None:
            if root is not None:
                raise InvalidArgument("a chained URL names the root already: leave root= out")
            root, kms, pin = chained, further.get("kms", kms), further.get("pin", pin)
        check_urls([root or "", *((kms.split() if isinstance(kms, str) else kms) or ())])
        if accept_generation is not None and root is None:
            raise InvalidArgument("accept_generation= applies to one corpus: name it, such as root='voice-a'")
        super().__init__(root, kms, pin, references, accept_generation)
        self.allow_plaintext_export = as_flag("allow_plaintext_export", allow_plaintext_export)
        self.writable = as_flag("writable", writable)
        self.single_writer = as_flag("single_writer", single_writer)
        self.subject = None if subject is None else checked_subjects(as_texts("subject", subject))
        if self.writable and accept_generation is not None:
            raise InvalidArgument("accept_generation= reads a copy or a backup: nothing is written to it")
        if self.writable and root is not None:
            self._reference(root).require_pin()

    @classmethod
    def clear_instance_cache(cls) -> None:
        """Forget all filesystems and the corpora that they have open."""
        super().clear_instance_cache()
        forget_corpora()

    # ------------------------------------------------------------ read

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        cache_type: str | None = "readahead",
        asked_by_open: bool = False,
        in_ranges: bool = False,
        **more: Any,
    ) -> SecuredataFile | WrittenFile:
        if set(mode) - set("rbt"):
            return self._open_written(path, mode, autocommit, **{name: more[name] for name in _WRITTEN if name in more})
        if not asked_by_open:
            # readers call `open`; only the caching filesystems bypass it
            self._check_export("a caching filesystem (blockcache::, filecache::, simplecache::)")
        location = self._file(path)
        read_range = location.ranges()
        whole = not in_ranges and location.is_read_whole()
        return SecuredataFile(
            self, path, read_range, location.info(), location.ukey(), whole, block_size, cache_type, cache_options
        )

    def cat_file(self, path: Any, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """The bytes of a file, or of part of it; start and end as in a slice.

        Raises:
            NoSuchPath, IsAFolder, and what reading an object raises
        """
        location = self._file(self._strip_protocol(path))
        first, last, _ = slice(start, end).indices(location.size)
        return bytes(location.ranges()(first, max(0, last - first)))

    def head(self, path: Any, size: int = 1024) -> bytes:
        """The first bytes of a file; no others are read. Raises as `cat_file`."""
        return self.cat_file(path, 0, size)

    def tail(self, path: Any, size: int = 1024) -> bytes:
        """The last bytes of a file; no others are read. Raises as `cat_file`."""
        return self.cat_file(path, -size) if size else b""

    def read_block(self, fn: Any, offset: int, length: int | None, delimiter: bytes | None = None) -> bytes:
        """A block of a file, as fsspec cuts it; little else is read. Raises as `cat_file`."""
        with self.open(fn, "rb", in_ranges=True) as file:
            left = file.size - offset
            return bytes(read_block(file, offset, left if length is None else min(length, left), delimiter))

    # ------------------------------------------------------------ what is refused

    def _check_export(self, what: str, allowed: bool = False) -> None:
        if not (as_flag("allow_plaintext_export", allowed) or self.allow_plaintext_export):
            raise refused(
                PlaintextRefused(
                    f"{what} would write plaintext to a local disk: read with open() or cat_file(), which keep it in "
                    "memory, or pass allow_plaintext_export=True"
                )
            )

    def get_file(
        self,
        rpath: Any,
        lpath: Any = None,
        callback: Any = DEFAULT_CALLBACK,
        outfile: Any = None,
        allow_plaintext_export: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write a file's plaintext to a local path; without `allow_plaintext_export` only into a BytesIO.

        New files are for this user alone (0600), and so are new folders (0700). If reading fails, the local path stays
        as it was.

        Raises:
            PlaintextRefused, and as `open`
        """
        target = lpath if outfile is None else outfile
        if not isinstance(target, io.BytesIO):
            self._check_export("get()", allow_plaintext_export)
        if hasattr(target, "write"):
            self._pour(rpath, target, callback, kwargs)
        elif self.isdir(rpath):
            make_folders(_own_target(target, is_folder=True), 0o700)
        else:
            self._get_local(rpath, _own_target(target), callback, kwargs)

    def _pour(self, rpath: Any, target: Any, callback: Any, options: dict[str, Any]) -> None:
        with self.open(rpath, **options) as file:
            callback.set_size(file.size)
            while piece := file.read(self.blocksize):
                target.write(piece)
                callback.relative_update(len(piece))

    def _get_local(self, rpath: Any, path: str, callback: Any, options: dict[str, Any]) -> None:
        """Write a local file under a temporary name until it is whole: a part is never mistaken for all of it.

        The file is for this user alone if none existed or another user made it; this user's own file keeps its mode.
        """
        mode = 0o600
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode):  # a device, a pipe
                with open(_open_device(path), "wb") as target:
                    self._pour(rpath, target, callback, options)
                return
            if status.st_uid == os.geteuid():
                mode = stat.S_IMODE(status.st_mode)
        self._file(self._strip_protocol(rpath))  # a path that is not in the corpus must not create a folder
        make_folders(os.path.dirname(path), 0o700)
        name = temporary_name(path)
        try:
            with open(os.open(name, NEW, 0o600), "wb") as target:
                self._pour(rpath, target, callback, options)
                os.fchmod(target.fileno(), mode)
            put_in_place(name, path)
        except BaseException:  # raised again, Ctrl-C too: no plaintext must stay behind
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise

    def get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,
        callback: Any = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        allow_plaintext_export: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write the plaintext of files to local paths: refused without `allow_plaintext_export`.

        Raises:
            PlaintextRefused, and as `open`
        """
        self._check_export("get()", allow_plaintext_export)
        super().get(rpath, lpath, recursive, callback, maxdepth, allow_plaintext_export=True, **kwargs)
