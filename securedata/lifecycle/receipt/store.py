"""Where receipts and openings are kept on this machine.

    $XDG_STATE_HOME/securedata/receipts/<corpus id>/<receipt id>-<digest: 16 hex digits>.receipt
    $XDG_STATE_HOME/securedata/receipts/<corpus id>/<receipt id>.openings/<commitment: 16 hex digits>.json

The digest in its name keeps a receipt apart from one that another run wrote for the same erasure: only that whose
digest the head records is final, and no run overwrites another's. Openings hold names: the folder is this user's alone.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from securedata.corpus.home import state_dir
from securedata.errors import ConfigError, InvalidArgument
from securedata.files import (
    drop_left_over,
    fsync_folder,
    make_folders,
    put_in_place,
    temporary_name,
    write_durable,
)
from securedata.foreign.describe import describe
from securedata.lifecycle.receipt.members import check_id
from securedata.lifecycle.receipt.opening import Opening
from securedata.lifecycle.receipt.operator import Operator
from securedata.lifecycle.receipt.statement import Statement

_RECEIPT = ".receipt"
_OPENINGS = ".openings"
_SHORT = 16
_DAY = 24 * 3600


class Written(NamedTuple):
    """A receipt on disk: its path, and the SHA-256 of its bytes, 64 hex digits, for the head to record."""

    path: Path
    digest: str

    def __repr__(self) -> str:
        return f"Written({self.digest})"


def receipts_folder(corpus: str) -> Path:
    """The folder of a corpus's receipts. Makes nothing.

    Args:
        corpus: the corpus id, 32 hex digits.

    Raises:
        ConfigError: there is no home folder.
    """
    check_id(corpus)
    return state_dir() / "receipts" / corpus


def write_receipt(statement: Statement, operator: Operator) -> Written:
    """Sign a statement, and write it durably. The same statement gives the same file; run again, nothing is lost.

    Raises:
        InvalidArgument: the statement is of another operator.
        ConfigError: the file cannot be written.
    """
    if statement.who.operator != operator.name:
        raise InvalidArgument(f"the statement is {statement.who.operator}'s, and the key is {operator.name}'s")
    data = operator.sign(statement.text()).encode()
    digest = hashlib.sha256(data).hexdigest()
    path = receipts_folder(statement.corpus.id) / f"{statement.id}-{digest[:_SHORT]}{_RECEIPT}"
    _write({path: data})
    return Written(path, digest)


def find_receipt(corpus: str, receipt: str, digest: str) -> Path | None:
    """The receipt with this id and digest, if this machine has it whole; None otherwise.

    Raises:
        ConfigError: the file is there, but cannot be read.
    """
    path = receipts_folder(corpus) / f"{receipt}-{digest[:_SHORT]}{_RECEIPT}"
    try:
        with path.open("rb") as file:
            return path if hashlib.file_digest(file, "sha256").hexdigest() == digest else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"the receipt {path} cannot be read: {describe(error)}") from None


def keep_final(corpus: str, receipt: str, digest: str) -> None:
    """Delete the receipts of this erasure that are not final, once the head records the digest of the final one.

    Raises:
        ConfigError: a file cannot be deleted.
    """
    check_id(receipt)
    final = f"{receipt}-{digest[:_SHORT]}{_RECEIPT}"
    _delete(path for path in receipts_folder(corpus).glob(f"{receipt}-*{_RECEIPT}") if path.name != final)


def keep_finals(corpus: str, finals: Mapping[str, str]) -> None:
    """As `keep_final`, for every erasure of a corpus: a run can be killed between the head and its files.

    Args:
        finals: by receipt id, the digest that the head records.

    Raises:
        ConfigError: a file cannot be deleted.
    """
    for path in receipts_folder(corpus).glob(f"*{_RECEIPT}"):
        receipt = path.name.partition("-")[0]
        if receipt in finals and path.name != f"{receipt}-{finals[receipt][:_SHORT]}{_RECEIPT}":
            keep_final(corpus, receipt, finals[receipt])
    for folder in (receipts_folder(corpus), *receipts_folder(corpus).glob(f"*{_OPENINGS}")):
        drop_left_over(folder)


def write_openings(corpus: str, receipt: str, openings: Iterable[Opening]) -> Path:
    """Write the openings of an erasure durably, mode 0600: before it commits, for they cannot be made again.

    Returns:
        Their folder; it may be empty.

    Raises:
        ConfigError: a file cannot be written.
    """
    check_id(receipt)
    folder = receipts_folder(corpus) / f"{receipt}{_OPENINGS}"
    _write({folder / f"{one.commitment[:_SHORT]}.json": one.text(receipt).encode() for one in openings})
    return folder


def drop_openings(corpus: str, receipt: str) -> None:
    """Delete the openings of an erasure that did not happen, half-written ones too: they hold names.

    Raises:
        ConfigError: a file cannot be deleted.
    """
    check_id(receipt)
    _delete([receipts_folder(corpus) / f"{receipt}{_OPENINGS}"])


def stray_openings(corpus: str, known: Collection[str], older: float = _DAY) -> list[str]:
    """Ids of erasures that left openings, and that the head does not know: a run was killed before its commit.

    Args:
        known: ids of the drafts and receipts in the head.
        older: seconds since the last was written; younger ones might be of a run that commits now.
    """
    found = []
    for path in receipts_folder(corpus).glob(f"*{_OPENINGS}"):
        if path.stem not in known and time.time() - path.stat().st_mtime > older:
            found.append(path.stem)
    return sorted(found)


def _write(files: dict[Path, bytes]) -> None:
    """Write new files, and return once they and the folders made for them would survive a power cut."""
    try:
        for path, data in files.items():
            make_folders(path.parent, 0o700)
            temporary = path.with_name(temporary_name(path.name))
            write_durable(temporary, data, 0o600)
            put_in_place(temporary, path)
        for folder in {parent for path in files for parent in list(path.parents)[:4]}:
            fsync_folder(folder)  # new folders have names too: up to securedata/, below the state folder
    except OSError as error:
        place = next(iter(files)).parent
        raise ConfigError(
            f"{place} cannot be written: {describe(error)}; make room, or set XDG_STATE_HOME to a folder that you can "
            "write to, and run the command again"
        ) from None


def _delete(paths: Iterable[Path]) -> None:
    for path in list(paths):
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            if path.parent.is_dir():
                fsync_folder(path.parent)
        except OSError as error:
            raise ConfigError(f"{path} cannot be deleted: {describe(error)}; delete it by hand") from None
