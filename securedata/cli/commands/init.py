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
            "same corpus key; each of them alone opens the corpus then."
        ),
        example=(
            "  securedata init ./sealed --name voice-a\n"
            "  securedata init /data/voice --kms local:///secure/voice.kek\n"
            "  securedata init s3://voice/a --kms aws-kms://arn:aws:kms:eu-west-1:111122223333:key/1234abcd-...\n"
            "  securedata init ./sealed --start-over    # its files were deleted by hand, and nobody wants them back"
        ),
    )
    parser.add_argument("root", metavar="ROOT", help="an empty place: a path or a URL")
    parser.add_argument("--name", help="its name in the config file (default: the last part of ROOT)")
    parser.add_argument(
        "--kms",
        action="append",
        default=[],
        metavar="URI",
        help="KMS key that wraps the corpus key; may be given again (or: SECUREDATA_KMS)",
    )
    parser.add_argument("--single-writer", action="store_true", help="allow storage without safe concurrent writing")
    add_start_over(parser)
    add_output_options(parser)


def add_start_over(parser: Any) -> None:
    """`--start-over`."""
    parser.add_argument(
        "--start-over",
        action="store_true",
        help="the corpus that was there was deleted for good: make a new one, and drop its pin from the config",
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
    """Tell people of a new corpus; `create_corpus` has named the files that they must not lose."""
    say(args, f"new corpus {created.name!r} at {created.root}, entered in {created.config}")
    for pin in created.dropped_pins:
        say(
            args,
            f"dropped: the pin {pin} of the corpus that was there; a backup of it opens with this --pin and its key",
        )
