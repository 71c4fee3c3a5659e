"""`securedata forget`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from securedata.cli.commands.config.list import described
from securedata.cli.common import add_command, add_output_options, out, print_json, say

if TYPE_CHECKING:
    from pathlib import Path

    from securedata.corpus.config import Reference


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "forget",
        forget,
        help="remove a corpus from the config file; delete nothing",
        about=(
            "Remove a corpus's entry from your config file, and print it. Nothing else is touched: the corpus stays\n"
            "where it is, and so does its key file. To undo this, put the printed entry back."
        ),
        example=("  securedata forget voice-a\n  securedata forget voice-a >> forgotten.toml    # keep the entry"),
    )
    parser.add_argument("name", metavar="NAME", help="the name in the config file, as 'securedata list' shows it")
    add_output_options(parser)


def forget(args: Namespace) -> int:
    """Run the command."""
    from securedata.corpus.config import config_path, drop_entry, entry_text, user_entry

    entry = user_entry(args.name)
    name = str(entry.name)
    drop_entry(name)
    files = key_files(entry)
    if args.json:
        stays = {"root": entry.root, "key_files": [str(path) for path in files]}
        print_json({**described(name, entry), "config": str(config_path()), "stays": stays})
        return 0
    say(args, f"removed {name!r} from {config_path()}; its entry was:")
    out(entry_text(name, entry).removesuffix("\n"))
    say(args, f"not touched: the corpus at {entry.root}")
    for path in files:
        say(args, f"not touched: its key file {path}, without which the corpus is lost")
    return 0


def key_files(entry: Reference) -> list[Path]:
    """The key files on this machine that open a corpus."""
    from securedata.keys.local import SCHEME, LocalKMS

    paths = (LocalKMS(uri).path for uri in entry.kms if uri.startswith(SCHEME))
    return [path for path in paths if path.exists()]
