"""`securedata list`."""

from __future__ import annotations

from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from securedata.cli.common import add_command, add_output_options, fail, out, print_json, say, warn
from securedata.cli.tables import table
from securedata.errors import ConfigError, SecuredataError
from securedata.printable import without_secrets_within

if TYPE_CHECKING:
    from securedata.corpus.config import Reference

_AT_ONCE = 8


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "list",
        list_corpora,
        help="list the corpora in the config file",
        about=(
            "List the corpora in the config files: name, root, and the kinds of KMS keys that open each.\n"
            "This contacts neither storage nor KMS, unless --check opens the head of each, with one KMS call."
        ),
        example=(
            "  securedata list\n"
            "  securedata list --check              # exit code 1 if one does not open\n"
            "  securedata list --json | jq -r '.[].name'"
        ),
    )
    parser.add_argument("--check", action="store_true", help="open the head of each, and say why one does not open")
    add_output_options(parser)


def list_corpora(args: Namespace) -> int:
    """Run the command."""
    from securedata.corpus.config import config_path, load

    entries = load(check=False)
    found = [described(name, entry) for name, entry in sorted(entries.items())]
    if args.check:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for one, state in zip(found, pool.map(_state, (entries[one["name"]] for one in found)), strict=True):
                one.update(state)
    if args.json:
        print_json(found)
    elif found:
        out(table([_line(one) for one in found]))
    else:
        say(args, f"no corpora in {config_path()}: make one with 'securedata init' or 'securedata encrypt'")
    closed = [one for one in found if one.get("opens") is False]
    for one in closed if not args.json else ():
        warn(f"{one['name']}: {one['error']['text']}")
    try:
        load()
    except ConfigError as error:  # which ends other commands
        return fail(str(error))
    return fail(f"{len(closed):,} of {len(found):,} corpora cannot be opened") if closed else 0


def described(name: str, entry: Reference) -> dict[str, Any]:
    """A config entry for `--json`."""
    pin = " ".join(map(str, entry.pins)) or None
    return {"name": name, "root": entry.root, "kms": list(entry.kms), "pin": pin, **entry.options}


def _state(entry: Reference) -> dict[str, Any]:
    from securedata.corpus.connection import connect
    from securedata.corpus.state.lease import HeadLease

    try:
        head = HeadLease(entry, connect(entry), ttl=60, kms_wait=0).open().head
    except SecuredataError as error:
        text = without_secrets_within(str(error))
        return {"opens": False, "generation": None, "error": {"error": type(error).__name__, "text": text}}
    return {"opens": True, "generation": head.generation, "error": None}


def _line(one: dict[str, Any]) -> tuple[str, ...]:
    kinds = ", ".join(dict.fromkeys(uri.partition("://")[0] for uri in one["kms"]))
    state: tuple[str, ...] = ()
    if "opens" in one:
        state = (f"generation {one['generation']:,}" if one["opens"] else one["error"]["error"],)
    return one["name"], one["root"], kinds or "no key", *state
