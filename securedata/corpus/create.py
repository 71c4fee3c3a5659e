"""Make a new, empty corpus."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from securedata.corpus.config import Reference, check_name, check_one_entry, drop_entry, load, normal_root, write_entry
from securedata.corpus.connection import connect
from securedata.corpus.home import data_dir, file_lock
from securedata.corpus.notices import log_notice
from securedata.corpus.option_values import as_flag, as_text, as_texts
from securedata.corpus.state.head import MAX_SEALED, Head, open_with, peek, seal_head
from securedata.corpus.state.layout import HEAD, What, classify
from securedata.corpus.state.seen import recall, remember, remember_committed
from securedata.errors import (
    AccessDenied,
    ConfigError,
    CorpusExists,
    CorpusGone,
    FormatError,
    InvalidArgument,
    MalformedManifest,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    SecuredataError,
    StorageUnreachable,
)
from securedata.format.cobblestone import Buffer
from securedata.keys.local import SCHEME, LocalKMS, create_key_file, refuse_inside, uri_for
from securedata.keys.pin import make_pin
from securedata.keys.wraps import CORPUS_KEY, wrap_key
from securedata.storage.base import Storage

BACK_UP = "back up this file: without it the corpus is lost"

_TRIES = 5
_MAY_PASS = (PreconditionFailed, StorageUnreachable)

_sleep = time.sleep


@dataclass(frozen=True, slots=True)
class CreateReport:
    """A new corpus, and what to keep safe.

    Attributes:
        root: absolute path or URL.
        name: its name in the config.
        kms: URIs of the KMS keys that wrap the corpus key; any one of them opens the corpus.
        pin: identifies this corpus; a colleague needs it.
        config: path of the config file with its entry.
        key_files: key files that were made.
        back_up: key files on this machine that open the corpus, new or not: if they are lost and no other KMS key opens
            it, the corpus is lost.
        dropped_pins: with `start_over`, the pins of the previous corpus, which the config entry no longer has. A backup
            of that corpus opens with one of them and its key.
        reference: how any process can find it; `open_corpus` takes it, too.
    """

    root: str
    name: str
    kms: tuple[str, ...]
    pin: str
    config: Path
    key_files: tuple[Path, ...]
    back_up: tuple[Path, ...]
    dropped_pins: tuple[str, ...]
    reference: Reference = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name}, a new corpus at {self.root}, pin {self.pin}"


def create_corpus(
    root: str | os.PathLike[str],
    name: str | None = None,
    *,
    kms: str | Sequence[str] = (),
    single_writer: bool = False,
    start_over: bool = False,
    storage: Storage | None = None,
) -> CreateReport:
    """Make a new, empty corpus at an empty root, with an entry in the config file.

    After a crash it can be run again: the key file and the config entry come first, and the head, which makes it a
    corpus, last. `ingest` makes a missing corpus itself.

    Args:
        root: an empty folder or prefix, as a path or a URL.
        name: its name in the config; None: the last part of the root.
        kms: KMS URIs, each of which wraps the corpus key. None: those of an existing config entry, else SECUREDATA_KMS,
            else a key file that is made under ~/.local/share/securedata/keys.
        single_writer: allow storage where two writers could lose rows; nobody else may ever write there.
        start_over: the previous corpus was deleted for good: replace its pin in the config entry by that of the new
            one. An existing corpus is never touched.
        storage: used instead of the one that the root names, for tests and benchmarks.

    Returns:
        The new corpus. The logger `securedata` warns of each key file that must be backed up.

    Raises:
        CorpusExists: there is something at the root.
        CorpusGone: by the config entry, a corpus was there, and `start_over` is not given.
        ConfigError: the name is taken, or the config file cannot be written.
        KMSDenied, KMSUnreachable, ContextNotBound: the KMS key cannot wrap a corpus key.
        UnsafeStorage: two writers could lose rows on this storage.
        StorageError, ...

    Example:
        created = sd.create_corpus("./sealed-b", "voice-b")
        print(created.pin, "in", created.config)
        print("back up", *created.back_up)
    """
    uris = as_texts("kms", kms)
    where = normal_root(os.fspath(root))
    with file_lock("create.lock"):
        created = _create(
            where, uris, name, as_flag("single_writer", single_writer), as_flag("start_over", start_over), storage
        )
    for path in created.back_up:
        log_notice(f"the key of the new corpus {created.name!r} is {path}: {BACK_UP}")
    return created


def _create(
    root: str, kms: Sequence[str], name: str | None, single_writer: bool, start_over: bool, storage: Storage | None
) -> CreateReport:
    name = check_name(as_text("name", name)) if name is not None else _free_name(root)
    known = load().get(name)
    if known and normal_root(known.root) != root:
        raise ConfigError(f"the name {name!r} is taken by {known.root}: give another one with --name")
    uris = tuple(kms) or (known.kms if known else ()) or tuple(os.environ.get("SECUREDATA_KMS", "").split())
    uris = uris or (uri_for(data_dir() / "keys" / f"{name}.kek"),)
    # an entry may exist before its corpus, to say how to reach storage; a role's session cannot list
    reference = Reference(root, name, uris, (), known.options if known else {})
    connection = connect(reference.without_role(), storage=storage)
    try:
        root.encode()
    except UnicodeEncodeError:
        raise InvalidArgument("the path is not UTF-8, so the config file cannot hold it: choose another") from None
    connection.storage.check_writable(single_writer)
    _refuse_full(connection.storage, root)
    check_one_entry(name, reference)
    dropped = known.pins if known and not interrupted(known) else ()
    if dropped and not start_over:
        raise CorpusGone(
            f"the corpus {name!r} was at {root} and is gone: mount its disk or restore it from a backup; if it was "
            f"deleted for good, --start-over makes a new one there, and the config entry loses the pin {dropped[0]}",
            root=root,
        )
    refuse_inside(root, uris)
    made = tuple(path for path in _local_files(uris) if create_key_file(path))
    corpus_id, key_id, key, secret = os.urandom(16), os.urandom(16), os.urandom(CORPUS_KEY), os.urandom(32)
    wraps = wrap_key(connection.trusted, key, corpus_id)
    write_id = os.urandom(16)
    head = Head(corpus_id, key_id, write_id, wraps, 1, secret, writes=(write_id,))
    sealed = seal_head(head, key)
    if open_with(sealed, key, root) != head:
        raise MalformedManifest(f"the new head of {root} does not read back; nothing was made")
    reference = dataclasses.replace(reference, pins=(make_pin(corpus_id, secret),))
    remember(dataclasses.replace(head, generation=0))
    config = write_entry(name, reference)
    try:
        _put_head(connection.storage, sealed, key, head)
    except CorpusExists:  # made on another machine: our entry would name a corpus that never existed
        if known:
            write_entry(name, known)
        else:
            drop_entry(name)
        raise
    remember_committed(head, root)
    pin = str(reference.pins[0])
    gone = tuple(map(str, dropped))
    return CreateReport(root, name, uris, pin, config, made, tuple(_local_files(uris)), gone, reference)


def _put_head(storage: Storage, sealed: Buffer, key: bytes, head: Head) -> None:
    """Put the first head, and look for it after any error: an intermediary may send a put twice.

    Raises:
        CorpusExists: another head is there.
        OutcomeUnknown: it is unknown whose head is there.
        StorageError
    """
    for tries in range(_TRIES):
        try:
            storage.replace(HEAD, sealed, None)
        except OutcomeUnknown:  # it is there, but might not last
            raise
        except SecuredataError as error:  # any response, even a redirect
            landed = _landed(storage, key, head, error)
            if landed is False:
                raise CorpusExists(
                    f"someone else made a corpus at {storage.url} meanwhile: ask for its pin", root=storage.url
                ) from error
            if landed is None and (tries + 1 == _TRIES or not isinstance(error, _MAY_PASS)):
                raise
            if landed is None:  # no answer; or refused without a head: two conditional puts at once
                _sleep(random.uniform(0, 0.1 * 2**tries))  # noqa: S311 - jitter, no secret
                continue
        return


def _landed(storage: Storage, key: bytes, head: Head, refused: SecuredataError) -> bool | None:
    """Is the head on storage ours? None: there is no head."""
    root = storage.url
    try:
        data = storage.get_versioned(HEAD, MAX_SEALED)[0]
    except NotFound:
        return None
    except SecuredataError as error:
        raise OutcomeUnknown(
            f"a corpus at {root} may or may not have been made ({refused}), and its head cannot be read: {error}; "
            "check with 'securedata info', and run it again if there is none",
            root=root,
        ) from error
    try:
        theirs = peek(data, root)[0].corpus_id != head.corpus_id
    except FormatError:
        theirs = True
    return not theirs and head.write_id in open_with(data, key, root).writes


def interrupted(reference: Reference) -> bool:
    """Was the init of this corpus killed on this machine before the corpus existed? If so, it may be run again.

    Otherwise a config entry without a head means that the corpus is gone, for example because its disk is not mounted.
    """
    try:
        seen = [recall(pin.corpus_id) for pin in reference.pins]
    except ConfigError:  # unknown; a writer will report what is wrong, unless its user accepts a generation
        return False
    return bool(seen) and all(one is not None and one.generation == 0 for one in seen)


def is_empty(reference: Reference) -> bool:
    """Is there nothing at the root? Also False if it cannot be listed: a writer then reports what is wrong.

    Raises:
        StorageError
    """
    try:
        return next(iter(connect(reference.without_role()).storage.list()), None) is None
    except AccessDenied:
        return False


def refuse_full(reference: Reference) -> None:
    """Refuse to start over at a root that is not empty, or where something can be restored.

    Raises:
        CorpusExists, StorageError
    """
    _refuse_full(connect(reference.without_role()).storage, reference.root)


def _refuse_full(storage: Storage, root: str) -> None:
    for entry in storage.list():
        if classify(entry.key)[0] is What.TEMPORARY:  # of a killed init, or of a corpus that is gone
            continue
        what = "a corpus" if entry.key == HEAD else f"something already ({entry.key})"
        raise CorpusExists(
            f"there is {what} at {root}: choose an empty place, or add to the corpus with 'securedata encrypt'",
            root=root,
        )
    for key in storage.deleted_keys():
        raise CorpusExists(
            f"something was deleted at {root} but can still be restored ({key}, an older version): restore it, choose "
            "another place, or delete all versions",
            root=root,
        )


def _free_name(root: str) -> str:
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", root.rstrip("/").rpartition("/")[2]).strip("-._") or "corpus"
    entries = load()
    if known := next((name for name, entry in entries.items() if entry.root == root), None):
        return known
    name, number = base, 1
    while name in entries:
        number += 1
        name = f"{base}-{number}"
    return name


def _local_files(uris: Sequence[str]) -> list[Path]:
    return [LocalKMS(uri).path for uri in uris if uri.startswith(SCHEME)]
