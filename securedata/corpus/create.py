"""Make a new, empty corpus."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from securedata.corpus.config import (
    Reference,
    check_name,
    data_dir,
    drop_entry,
    file_lock,
    load,
    normal_root,
    write_entry,
)
from securedata.corpus.connection import connect
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

_TRIES = 5
_MAY_PASS = (PreconditionFailed, StorageUnreachable)

_sleep = time.sleep


@dataclass(frozen=True, slots=True)
class Created:
    """A new corpus: how to find it, and the key file that was made for it, if one was."""

    reference: Reference
    config: Path
    key_files: tuple[Path, ...]


def create_corpus(
    root: str,
    kms: Sequence[str] = (),
    name: str | None = None,
    *,
    single_writer: bool = False,
    storage: Storage | None = None,
) -> Created:
    """Make a corpus at an empty root, and its entry in the config file.

    A crash leaves nothing that a second run does not mend: the key file and the config entry come
    first, and the head, which makes it a corpus, last.

    Args:
        kms: KMS URIs, each of which wraps the corpus key; none: a key file under $XDG_DATA_HOME is made.
        name: its name in the config; None: after the root's last part.

    Raises:
        CorpusExists: there is something at the root.
        CorpusGone: a corpus that this machine has written to was there.
        ConfigError, KMSDenied, ContextNotBound, UnsafeStorage, ...
    """
    with file_lock("create.lock"):
        return _create(normal_root(root), kms, name, single_writer, storage)


def _create(root: str, kms: Sequence[str], name: str | None, single_writer: bool, storage: Storage | None) -> Created:
    name = check_name(name) if name is not None else _free_name(root)
    known = load().get(name)
    if known and normal_root(known.root) != root:
        raise ConfigError(f"the name {name!r} is taken by {known.root}; give another one with --name")
    uris = tuple(kms) or (known.kms if known else ()) or (uri_for(data_dir() / "keys" / f"{name}.kek"),)
    # an entry may be there before its corpus, to say how its storage is reached; a role's session may not list
    reference = Reference(root, name, uris, (), known.options if known else {})
    connection = connect(reference.without_role(), storage=storage)
    try:
        root.encode()
    except UnicodeEncodeError:
        raise InvalidArgument("the path is not UTF-8, and the config file could not hold it: choose another") from None
    connection.storage.check_writable(single_writer)
    _refuse_full(connection.storage, root)
    if known and known.pins and any(recall(pin.corpus_id) for pin in known.pins) and not interrupted(known):
        raise CorpusGone(
            f"the corpus {name!r} was at {root} and is gone: restore it from a backup, "
            "or remove its entry from the config file to begin anew",
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
    except CorpusExists:  # made on another machine: this one's entry would name a corpus that never was
        if known:
            write_entry(name, known)
        else:
            drop_entry(name)
        raise
    remember_committed(head, root)
    return Created(reference, config, made)


def _put_head(storage: Storage, sealed: Buffer, key: bytes, head: Head) -> None:
    """Put the first head, and look for it whatever was answered: an intermediary may send a put twice.

    Raises:
        CorpusExists: another head is there.
        OutcomeUnknown: it cannot be told whose head is there.
        StorageError
    """
    for tries in range(_TRIES):
        try:
            storage.replace(HEAD, sealed, None)
        except OutcomeUnknown:  # it is there, and might not last
            raise
        except SecuredataError as error:  # whatever was answered, a redirect too
            landed = _landed(storage, key, head, error)
            if landed is False:
                raise CorpusExists(
                    f"somebody made a corpus at {storage.url} meanwhile: ask for its pin", root=storage.url
                ) from error
            if landed is None and (tries + 1 == _TRIES or not isinstance(error, _MAY_PASS)):
                raise
            if landed is None:  # not answered; or refused, and there is none: two conditional puts at once
                _sleep(random.uniform(0, 0.1 * 2**tries))  # noqa: S311 - jitter, no secret
                continue
        return


def _landed(storage: Storage, key: bytes, head: Head, refused: SecuredataError) -> bool | None:
    """Is the head on storage ours? None: there is none."""
    root = storage.url
    try:
        data = storage.get_versioned(HEAD, MAX_SEALED)[0]
    except NotFound:
        return None
    except SecuredataError as error:
        raise OutcomeUnknown(
            f"a corpus at {root} may or may not have been made ({refused}), and its head cannot be read: {error}; "
            "see with 'securedata info', and run it again if there is none",
            root=root,
        ) from error
    try:
        theirs = peek(data, root)[0].corpus_id != head.corpus_id
    except FormatError:
        theirs = True
    return not theirs and head.write_id in open_with(data, key, root).writes


def interrupted(reference: Reference) -> bool:
    """Was an init of this corpus killed on this machine before there was a corpus? Then it may begin anew.

    An entry of the config whose head is missing is otherwise a corpus that is gone: a folder that is not mounted, say.
    """
    try:
        seen = [recall(pin.corpus_id) for pin in reference.pins]
    except ConfigError:  # it cannot be told; a writer says what is wrong, unless its user accepts a generation
        return False
    return bool(seen) and all(one is not None and one.generation == 0 for one in seen)


def is_empty(reference: Reference) -> bool:
    """Is there nothing at the root? False, too, where that may not be listed: a writer then says what is wrong.

    Raises:
        StorageError
    """
    try:
        return next(iter(connect(reference.without_role()).storage.list()), None) is None
    except AccessDenied:
        return False


def _refuse_full(storage: Storage, root: str) -> None:
    for entry in storage.list():
        if "/" not in entry.key and classify(entry.key)[0] is What.TEMPORARY:  # of an init that was killed
            continue
        what = "a corpus" if entry.key == HEAD else f"something already ({entry.key})"
        raise CorpusExists(
            f"there is {what} at {root}: choose an empty place, or 'securedata encrypt' into the corpus that is there",
            root=root,
        )
    for key in storage.deleted_keys():
        raise CorpusExists(
            f"something was deleted at {root} and can still be restored ({key}, an older version): restore it, choose "
            "another place, or delete all versions",
            root=root,
        )


def _free_name(root: str) -> str:
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", root.rstrip("/").rpartition("/")[2]).strip("-._") or "corpus"
    entries = load()
    name, number = base, 1
    while name in entries and normal_root(entries[name].root) != root:
        number += 1
        name = f"{base}-{number}"
    return name


def _local_files(uris: Sequence[str]) -> list[Path]:
    return [LocalKMS(uri).path for uri in uris if uri.startswith(SCHEME)]
