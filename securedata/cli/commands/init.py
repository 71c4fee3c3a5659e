"""`securedata init`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from securedata.cli.common import (
    add_command,
    add_output_options,
    out,
    print_json,
    say,
)

if TYPE_CHECKING:
    from securedata.corpus.create import CreateReport


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "init",
        init,
        help="make a new, empty corpus",
        about=(
            "Make a new, empty corpus and its entry in the config file.\n\n"
            "Without --kms a key file is made under ~/.local/share/securedata/keys. Several KMS keys may wrap the\n"
            "same corpus key; any one of them opens the corpus."
        ),
        example=(
            "  securedata init ./sealed --name voice-a\n"
            "  securedata init /data/voice --kms local:///secure/voice.kek\n"
            "  securedata init s3://voice/a \\\n"
            "    --kms aws-kms://arn:aws:kms:eu-west-1:111122223333:key/1234abcd-...\n"
            "  securedata init ./sealed --start-over    # its files were deleted for good"
        ),
    )
    parser.add_argument("root", metavar="ROOT", help="path or URL, new or empty")
    parser.add_argument("--name", help="its name in the config file (default: the last part of ROOT)")
    parser.add_argument(
        "--kms",
        action="append",
        default=[],
        metavar="URI",
        help="KMS key that wraps the corpus key; repeatable (default: SECUREDATA_KMS)",
    )
    parser.add_argument(
        "--single-writer", action="store_true", help="allow storage where concurrent writers could lose rows"
    )
    add_start_over(parser)
    add_output_options(parser)


def add_start_over(parser: Any) -> None:
    """`--start-over`."""
    parser.add_argument(
        "--start-over",
        action="store_true",
        help="if a corpus was deleted for good: make a new one in its place, drop its pin from the config",
    )


def init(args: Namespace) -> int:
    """Run the command."""
    from securedata.corpus.create import create_corpus

    created = create_corpus(
        args.root, args.name, kms=args.kms, single_writer=args.single_writer, start_over=args.start_over
    )
    if args.json:
        print_json(described(created))
    else:
        announce(args, created)
        out(created.pin)
    return 0


def described(created: CreateReport) -> dict[str, Any]:
    """A new corpus for `--json`."""
    return {
        "name": created.name,
        "root": created.root,
        "kms": list(created.kms),
        "pin": created.pin,
        "config": str(created.config),
        "key_files": [str(path) for path in created.key_files],
        "dropped_pins": list(created.dropped_pins),
    }


def announce(args: Namespace, created: CreateReport) -> None:
    """Print a new corpus; `create_corpus` has warned of the key files to back up."""
    say(args, f"new corpus {created.name!r} at {created.root}, added to {created.config}")
    for pin in created.dropped_pins:
        say(
            args,
            f"dropped: the pin {pin} of the deleted corpus; a backup of it opens with this --pin and its key",
        )
