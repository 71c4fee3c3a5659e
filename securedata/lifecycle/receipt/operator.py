"""The operator's key, which signs receipts. It opens no corpus.

    $XDG_DATA_HOME/securedata/operator.key      one line: an encoded signer key (see `note`), mode 0600
    [operator] in the config file               name, key (the path of that file), public (the verifier key)

A receipt is worth as much as the way in which its reader got the public half: publish it apart from the receipts.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit

from securedata.corpus.config import config_files, config_path, edit, read_config
from securedata.corpus.home import data_dir
from securedata.errors import ConfigError, InvalidArgument, NoOperatorKey, OperatorKeyRefused, ReceiptError
from securedata.files import open_regular, read_bounded
from securedata.foreign.describe import describe
from securedata.keys.local import create_secret_file, why_not_private
from securedata.lifecycle.receipt.note import (
    SignerKey,
    VerifierKey,
    check_key_name,
    parse_signer,
    parse_verifier,
    verify,
)

TABLE = "operator"
_LONGEST = 4096
_TEST = "securedata: test of an operator key\n"


@dataclass(frozen=True, slots=True)
class Operator:
    """A loaded operator key that has made and checked a test signature."""

    path: Path = field(repr=False)
    public: VerifierKey
    _signer: SignerKey = field(repr=False)

    @property
    def name(self) -> str:
        """The key's name, which stands in every receipt."""
        return self.public.name

    def sign(self, text: str) -> str:
        """The text as a signed note. Arguments and errors are those of `SignerKey.sign`."""
        return self._signer.sign(text)


class Made(NamedTuple):
    """The operator's key, and whether this call made it."""

    operator: Operator
    made: bool


def key_path() -> Path:
    """Where the operator's key file is: where the config says, else in the data folder.

    Raises:
        ConfigError
    """
    entry = _entry()
    return Path(entry["key"]) if entry else _default_path()


def public_key() -> VerifierKey | None:
    """The public half that the config has; None if it has none. Needs no key file.

    Raises:
        ConfigError
    """
    entry = _entry()
    return _public(entry["public"]) if entry else None


def load_operator(path: Path | None = None) -> Operator:
    """Load the operator's key, and make and check a test signature, before anything relies on it.

    Args:
        path: the key file; None: the one that the config names, else the default.

    Raises:
        NoOperatorKey: there is none.
        OperatorKeyRefused: it cannot be read, is open to others, is broken, or is not the one whose public half the
            config has.
        ConfigError: the config file cannot be read.
    """
    operator = _load(path or key_path())
    public = public_key()
    if public is None:
        raise NoOperatorKey(
            f"the operator key {operator.path} is not in the config file {config_path()}, where its public half "
            "belongs: run 'securedata operator init', which keeps the key"
        )
    if public != operator.public:
        raise OperatorKeyRefused(
            f"the operator key {operator.path} is {operator.public}, but the config has the public half {public}: "
            "restore the key file of that name and id, or correct [operator] in the config"
        )
    return operator


def make_operator(name: str | None = None) -> Made:
    """Make the operator's key and write its public half into the config file. Run again, it finishes what it began.

    An existing key is kept, never replaced.

    Args:
        name: the key's name, such as example.com/erasure; needed for a new key only.

    Raises:
        InvalidArgument: no name for a new key, a name that no key can have, or not that of the existing key.
        OperatorKeyRefused: as for `load_operator`.
        ConfigError: the file or the config cannot be written.
    """
    entry, path = _entry(), key_path()
    made = False
    if not os.path.lexists(path):
        if entry:
            raise OperatorKeyRefused(
                f"the config names the operator key {path}, which is not there: restore it from its backup; to begin "
                f"with a new key, remove [operator] from {config_path()} and keep the old public half with its receipts"
            )
        if name is None:
            raise InvalidArgument(
                "a new operator key needs a name, which stands in every receipt: give --name, best a host name of "
                "yours with a path, such as --name example.com/erasure"
            )
        made = create_secret_file(path, SignerKey(check_key_name(name), os.urandom(32)).encoded() + "\n")
    else:
        create_secret_file(path, "")  # it exists: this flushes its name, which an earlier run might not have done
    operator = _load(path)
    if name is not None and name != operator.name:
        raise InvalidArgument(
            f"there is an operator key already, {operator.public}, and it is never replaced: leave out --name"
        )
    if entry:
        return Made(load_operator(path), made)
    edit(lambda document: _write(document, operator))
    return Made(operator, made)


def _write(document: tomlkit.TOMLDocument, operator: Operator) -> None:
    """Write the table, under the config file's lock."""
    if TABLE in document and document[TABLE].unwrap().get("public") != str(operator.public):
        raise ConfigError(f"{config_path()} got another [operator] meanwhile: run 'securedata operator show'")
    document[TABLE] = {"name": operator.name, "key": str(operator.path), "public": str(operator.public)}


def _default_path() -> Path:
    return data_dir() / "operator.key"


def _entry() -> dict[str, Any] | None:
    """The config's table, checked; None if there is none."""
    files = [read_config(path)[1] for path in config_files()]  # the user's is the last, and counts
    entry = next((one[TABLE] for one in reversed(files) if TABLE in one), None)
    if entry is None:
        return None
    members = ("name", "key", "public")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(member), str) for member in members):
        raise ConfigError("[operator] in the config needs name, key and public, as 'securedata operator init' writes")
    if not os.path.isabs(entry["key"]):
        raise ConfigError("[operator] in the config: key must be an absolute path")
    if _public(entry["public"]).name != entry["name"]:
        raise ConfigError("[operator] in the config: name and public are of different keys")
    return entry


def _public(text: str) -> VerifierKey:
    try:
        return parse_verifier(text)
    except InvalidArgument as error:
        raise ConfigError(f"[operator] in the config: public: {error}") from None


def _load(path: Path) -> Operator:
    try:
        fd = open_regular(path)  # the checks look at the opened file, since its name might be another file's by now
        if reason := why_not_private(os.fstat(fd), path):
            os.close(fd)
            raise OperatorKeyRefused(f"{path}: {reason}")
        text = read_bounded(fd, path, _LONGEST).decode()
        signer = parse_signer(text.removesuffix("\n"))
        operator = Operator(path, signer.verifier, signer)
        verify(operator.sign(_TEST), [operator.public])
    except FileNotFoundError:
        raise NoOperatorKey(
            f"there is no operator key {path}, which signs the receipts of erasures: run 'securedata operator init', "
            "or restore the key from its backup"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        irregular = isinstance(error, OSError) and error.errno == errno.EINVAL  # what `open_regular` says of a FIFO
        reason = "it is not a regular file" if irregular else describe(error)
        raise OperatorKeyRefused(f"the operator key {path} cannot be read: {reason}") from None
    except (InvalidArgument, ReceiptError) as error:
        raise OperatorKeyRefused(f"{path} is no operator key: {error}; restore it from its backup") from None
    return operator
