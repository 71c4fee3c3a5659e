"""Names of corpora: the config file, the environment, and the four ways to write a target.

    ~/.config/securedata/config.toml      (XDG_CONFIG_HOME; SECUREDATA_CONFIG names another file)
    /etc/xdg/securedata/config.toml       with lower priority (XDG_CONFIG_DIRS)

Neither the working directory nor the corpus is searched: anyone who can write there could choose the KMS. A root has
one entry. For kms and pin the most specific wins: the argument, then the corpus's entry, then SECUREDATA_KMS and
SECUREDATA_PIN (lists separated by blanks).
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomlkit

from securedata.corpus.home import file_lock, home
from securedata.corpus.option_values import as_texts
from securedata.errors import ConfigError, InvalidArgument, PinRequired
from securedata.files import make_folders, read_small, replace_file
from securedata.foreign.describe import describe
from securedata.keys.pin import Pin, parse_pin
from securedata.printable import without_secrets
from securedata.roots import LOCAL, check_plain

_log = logging.getLogger("securedata")

SCHEME = "securedata://"
_LARGEST = 16 * 1024 * 1024
_OPTIONS = ("role", "profile", "region", "endpoint_url", "sts_endpoint_url", "purpose", "cache", "cache_size")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TWO_WAYS = "for a folder here, write ./{0}; for a new corpus of this name, first run 'securedata init ROOT --name {0}'"
_FORBIDDEN = ("key", "secret", "token", "password")


@dataclass(frozen=True, slots=True)
class Reference:
    """How any process can find a corpus; holds no keys and no credentials."""

    root: str
    name: str | None = None
    kms: tuple[str, ...] = ()
    pins: tuple[Pin, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_plain(self.root)

    def __repr__(self) -> str:
        kms = tuple(without_secrets(uri) for uri in self.kms)
        options = {name: without_secrets(str(value)) for name, value in self.options.items()}
        return f"Reference({without_secrets(self.root)!r}, {self.name!r}, kms={kms}, options={options})"

    def without_role(self) -> Reference:
        """The same corpus without the role, for what its limited session may not do, such as listing."""
        options = {key: value for key, value in self.options.items() if key != "role"}
        return Reference(self.root, self.name, self.kms, self.pins, options)

    def require_pin(self) -> Pin:
        """The only pin of the corpus. Called before a writer's first request, or for a role.

        With several pins, another corpus of the same user could take this one's place unnoticed.

        Raises:
            PinRequired
        """
        if not self.pins:
            raise PinRequired(
                f"writing to {self.root}, or a role's session for it, needs the pin of the corpus, so that a "
                "swapped corpus is noticed: give pin=, --pin, SECUREDATA_PIN or a config entry; 'securedata info' "
                "prints it",
                root=self.root,
            )
        if len(set(self.pins)) > 1:
            raise PinRequired(
                f"{len(set(self.pins))} pins are given for {self.root}, but writing to it, or a role's session for it, "
                "needs exactly one: write an entry with its pin for each root into the config file, "
                "as 'securedata info ROOT --config' prints it, or give this corpus's pin as pin= or --pin; "
                "'securedata init' makes a new corpus",
                root=self.root,
            )
        return self.pins[0]


def resolve(
    target: str | os.PathLike[str] | Reference,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
) -> Reference:
    """Find a corpus by NAME, securedata://NAME, path or URL. Makes no network request.

    Raises:
        ConfigError: a name that is not in the config.
        InvalidArgument: a pin that cannot be parsed.
    """
    if isinstance(target, Reference):
        base = target
    elif isinstance(target, (str, os.PathLike)):
        base = _find(os.fspath(target))
    else:
        raise InvalidArgument(
            f"a corpus is given as a name, securedata://NAME, a path or a URL, not as {type(target).__name__}"
        )
    uris = _words("kms", kms) or base.kms or tuple(os.environ.get("SECUREDATA_KMS", "").split())
    pins = _words("pin", pin)
    if pins:
        parsed = tuple(parse_pin(one) for one in pins)
    else:
        parsed = base.pins or tuple(parse_pin(one) for one in os.environ.get("SECUREDATA_PIN", "").split())
    return Reference(base.root, base.name, uris, parsed, base.options)


def _find(target: str) -> Reference:
    entries = load()
    if target.startswith(SCHEME):
        name = target[len(SCHEME) :].strip("/")
        if name not in entries:
            raise ConfigError(_unknown(name, entries))
        return entries[name]
    if target in entries:
        return entries[target]
    if _NAME.fullmatch(target) and "." not in target and not os.path.exists(target):
        raise ConfigError(f"{_unknown(target, entries)}; {_TWO_WAYS.format(target)}")
    root = normal_root(target)
    found = [entry for entry in entries.values() if entry.root == root]
    if len(found) > 1:  # at different endpoints
        names = " and ".join(repr(entry.name) for entry in found)
        raise ConfigError(f"{names} are both for {root}, at different endpoints: give the name of the one you mean")
    return found[0] if found else Reference(root)


def normal_root(root: str) -> str:
    """One spelling for each root: absolute and resolved for a local path, no slash at the end.

    Raises:
        InvalidArgument: no path can contain this.
    """
    if "\0" in root:
        raise InvalidArgument("a root cannot contain a NUL character")
    scheme, separator, rest = root.partition("://")
    if separator and scheme in LOCAL:
        root = rest
    elif separator:
        return root.rstrip("/")
    return os.path.realpath(os.path.expanduser(root))


def _unknown(name: str, entries: Iterable[str]) -> str:
    known = ", ".join(sorted(entries)) or "none"
    try:
        where = f"the config file {config_path()}"
    except ConfigError as error:
        where = f"the config files ({error})"
    return f"no corpus named {without_secrets(name)!r} in {where} (known names: {known})"


def _words(name: str, value: str | Sequence[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(value.split()) if isinstance(value, str) else tuple(as_texts(name, value))


# ---------------------------------------------------------------- the file


def config_path() -> Path:
    """The user's config file, whether it exists or not."""
    named = os.environ.get("SECUREDATA_CONFIG")
    return Path(named) if named else home("XDG_CONFIG_HOME", ".config") / "config.toml"


def config_files() -> Iterator[Path]:
    """The files that are read, the system's first."""
    if not os.environ.get("SECUREDATA_CONFIG"):
        for base in reversed(os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")):
            if os.path.isabs(base):
                yield Path(base) / "securedata" / "config.toml"
    with contextlib.suppress(ConfigError):  # without a home folder there is no file in it
        yield config_path()


_warned: set[Path] = set()


def _is_out_of_reach(path: Path) -> bool:
    """Does the path lead through a folder that this user may not enter, or through something that is not a folder?

    It does if HOME is another user's (sudo, a container that runs under another id), or /dev/null, as for daemons.
    A file that SECUREDATA_CONFIG names must be readable.
    """
    if os.environ.get("SECUREDATA_CONFIG"):
        return False
    try:
        path.lstat()
    except NotADirectoryError:
        return True
    except OSError as error:
        if not isinstance(error, PermissionError):
            return False
        if path not in _warned:
            _warned.add(path)
            _log.warning(
                "the config file %s is ignored, since this user may not enter its folder: set HOME or XDG_CONFIG_HOME "
                "to a folder of your own",
                path,
            )
        return True
    return False


def load(check: bool = True) -> dict[str, Reference]:
    """All entries, by name. The user's override the system's, by name and by root. A file out of reach is ignored.

    Args:
        check: refuse a file with two entries for one root, since it is unclear whose pin and keys count.

    Raises:
        ConfigError: a file that cannot be read or parsed, or has two entries for one root.
    """
    entries: dict[str, Reference] = {}
    for path in config_files():
        found = load_file(path, check)
        places = set(map(_place, found.values()))
        entries = {name: entry for name, entry in entries.items() if _place(entry) not in places} | found
    return entries


def load_file(path: Path, check: bool = True) -> dict[str, Reference]:
    """The entries of one file. Arguments and errors are those of `load`."""
    text, content = read_config(path)
    corpora = content.get("corpora", {})
    if not isinstance(corpora, dict):
        raise ConfigError(f"{path}: corpora must be tables, such as [corpora.voice-a]")
    entries = {name: _entry(path, name, entry) for name, entry in corpora.items()}
    by_place: dict[tuple[str, str], str] = {}
    for name, entry in entries.items() if check else ():
        first = by_place.setdefault(_place(entry), name)
        if first != name:
            raise ConfigError(
                f"{path}: {_at(first, text)} and {_at(name, text)} are both for {entry.root}, which can have only one "
                "pin and one set of keys: remove one entry with 'securedata forget NAME', which prints it"
            )
    return entries


def read_config(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of one file and what it holds, ("", {}) without a file. Errors are those of `load`."""
    try:
        text = read_small(path, _LARGEST).decode()
        return text, tomllib.loads(text)
    except FileNotFoundError:
        return "", {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        if _is_out_of_reach(path):
            return "", {}
        raise ConfigError(f"the config file {path} cannot be read: {describe(error)}") from None


def user_entry(name: str) -> Reference:
    """An entry of the user's own config file, the one that can be changed, by NAME or securedata://NAME.

    Raises:
        ConfigError: the file has no such entry.
    """
    name = name.removeprefix(SCHEME).strip("/")
    entries = load_file(config_path(), check=False)
    if name in entries:
        return entries[name]
    known = load(check=False)
    if name in known:
        raise ConfigError(f"{name!r} is in a system config file; only entries of {config_path()} can be changed")
    raise ConfigError(_unknown(name, known))


def _place(entry: Reference) -> tuple[str, str]:
    """Where a corpus is. The endpoint counts: the same bucket name at another endpoint is another bucket."""
    return entry.root, entry.options.get("endpoint_url", "")


def _at(name: str, text: str) -> str:
    """The name of an entry, with its line in the file."""
    found = re.search(
        rf"""^[ \t]*\[[ \t]*corpora[ \t]*\.[ \t]*["']?{re.escape(name)}["']?[ \t]*\]""", text, re.MULTILINE
    )
    return f"[corpora.{name}]" + (f" (line {text.count(chr(10), 0, found.start()) + 1})" if found else "")


def _entry(path: Path, name: str, entry: Any) -> Reference:
    where = f"{path}: [corpora.{name}]"
    if not isinstance(entry, dict) or not isinstance(entry.get("root"), str):
        raise ConfigError(f'{where} needs a root, such as root = "/data/voice-a"')
    for option in entry:
        if any(word in option.lower() for word in _FORBIDDEN):
            raise ConfigError(f"{where}: {option} looks like a credential; name a profile or a role instead")
        if option not in ("root", "kms", "pin", *_OPTIONS):
            raise ConfigError(f"{where}: unknown option {option}; known are root, kms, pin, {', '.join(_OPTIONS)}")
    kms, pin = entry.get("kms", []), entry.get("pin", [])
    uris = [kms] if isinstance(kms, str) else kms
    pins = pin.split() if isinstance(pin, str) else pin
    if not all(isinstance(one, str) for one in [*uris, *pins]):
        raise ConfigError(f"{where}: kms and pin must be strings or lists of strings")
    options = {key: str(value) for key, value in entry.items() if key in _OPTIONS}
    try:
        return Reference(normal_root(entry["root"]), name, tuple(uris), tuple(map(parse_pin, pins)), options)
    except InvalidArgument as error:
        raise ConfigError(f"{where}: {error}") from None


def check_name(name: str) -> str:
    """Check that a name can be used in a URL and in TOML.

    Raises:
        ConfigError
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be the name of a corpus: use letters, digits, '.', '_' and '-'")
    return name


def entry_text(name: str, reference: Reference) -> str:
    """The config block for a colleague."""
    return tomlkit.dumps({"corpora": {name: _table(reference)}})


def _table(reference: Reference) -> dict[str, Any]:
    table: dict[str, Any] = {"root": reference.root, "kms": list(reference.kms)}
    if reference.pins:
        table["pin"] = " ".join(str(pin) for pin in reference.pins)
    return {**table, **reference.options}


def check_one_entry(name: str, reference: Reference) -> None:
    """Refuse a second entry for a root in the user's config file.

    Raises:
        ConfigError
    """
    place = _place(replace(reference, root=normal_root(reference.root)))
    path = config_path()
    for other, entry in load_file(path, check=False).items():
        if other != name and _place(entry) == place:
            raise ConfigError(
                f"{path} already has an entry for {reference.root}, {other!r}: use that name, or remove the entry with "
                f"'securedata forget {other}'"
            )


def write_entry(name: str, reference: Reference) -> Path:
    """Add or replace an entry in the user's config file; other lines and comments stay as they are.

    Raises:
        ConfigError: another entry is for the same root; the file cannot be read or written.
    """

    def change(corpora: Any) -> None:
        check_one_entry(name, reference)  # under the lock
        corpora[check_name(name)] = _table(reference)

    return edit(lambda document: change(document.setdefault("corpora", tomlkit.table(is_super_table=True))))


def drop_entry(name: str) -> Path:
    """Remove an entry from the user's config file.

    Raises:
        ConfigError
    """
    return edit(lambda document: document.setdefault("corpora", tomlkit.table(is_super_table=True)).pop(name, None))


def edit(change: Callable[[tomlkit.TOMLDocument], object]) -> Path:
    """Change the user's config file under its lock; what `change` leaves alone stays, comments too.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    path = config_path()
    if os.fspath(path) == os.devnull:  # switched off; replacing /dev/null with a file would break the whole machine
        return path
    try:
        make_folders(path.parent, 0o700)
        with file_lock("config.lock"):
            text = read_small(path, _LARGEST).decode() if path.exists() else ""
            document = tomlkit.parse(text)
            change(document)
            mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
            replace_file(path, tomlkit.dumps(document).encode(), mode)
    except (OSError, UnicodeDecodeError, tomlkit.exceptions.TOMLKitError) as error:
        raise ConfigError(f"the config file {path} cannot be written: {describe(error)}") from None
    return path
