"""What all commands share: common options, tables, progress, JSON."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from securedata.corpus.config import Reference


def add_command(
    subparsers: Any, name: str, run: Callable[[Namespace], int], *, help: str, about: str, example: str
) -> ArgumentParser:
    """A command's parser, with an example that a reader can copy."""
    parser: ArgumentParser = subparsers.add_parser(
        name,
        help=help,
        description=about,
        epilog=f"example:\n{example}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_corpus_options(parser: ArgumentParser) -> None:
    """Which corpus is meant and who may open it: flags over the config over the environment."""
    group = parser.add_argument_group("corpus")
    group.add_argument(
        "--kms",
        action="append",
        metavar="URI",
        help="KMS key that is trusted, as local:///home/me/voice.kek; may be given again (or: config, SECUREDATA_KMS)",
    )
    group.add_argument("--pin", metavar="PIN", help="which corpus is meant (or: config, SECUREDATA_PIN)")


def add_output_options(parser: ArgumentParser) -> None:
    """`--json` and `--quiet`."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="one JSON document on standard output")
    group.add_argument("-q", "--quiet", action="store_true", help="no progress and no remarks")


def add_writer_options(parser: ArgumentParser) -> None:
    """For commands that write."""
    group = parser.add_argument_group("writing")
    group.add_argument(
        "--single-writer",
        action="store_true",
        help="write to storage on which two writers could lose rows; only if nobody else ever writes there",
    )
    group.add_argument(
        "--accept-generation",
        type=int,
        metavar="N",
        help="accept a head of this generation although a newer one was seen, after you restored it yourself",
    )


def reference(args: Namespace, target: str) -> Reference:
    """The corpus that a command means."""
    from securedata.corpus.config import resolve

    return resolve(target, args.kms, args.pin)


def say(args: Namespace, text: str) -> None:
    """A remark for people, on standard error."""
    if not args.quiet and not args.json:
        print(text, file=sys.stderr)


def print_json(document: object) -> None:
    """The document of `--json`."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def table(rows: Iterable[Sequence[str]], right: frozenset[int] = frozenset()) -> str:
    """Rows of text in columns; those in `right` are set flush right."""
    listed = [list(row) for row in rows]
    if not listed:
        return ""
    widths = [max(len(row[i]) for row in listed) for i in range(len(listed[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in listed
    ]
    return "\n".join(lines)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def plural(count: int, noun: str) -> str:
    """A count and its noun."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


class Bar:
    """A progress bar of bytes and files on standard error; silent where nobody looks."""

    def __init__(self, args: Namespace, what: str, files: int, total: int) -> None:
        from tqdm import tqdm

        self._files, self._done = files, 0
        self._bar = tqdm(
            total=total,
            desc=what,
            unit="B",
            unit_scale=True,
            disable=args.quiet or args.json or not sys.stderr.isatty(),
            file=sys.stderr,
        )

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, files: int, count: int) -> None:
        """So many more files and bytes."""
        self._done += files
        self._bar.set_postfix_str(f"{self._done:,}/{self._files:,} files", refresh=False)
        self._bar.update(count)


class Progress:
    """A bar for work that tells (files done, files in all, bytes done, bytes in all)."""

    def __init__(self, args: Namespace, what: str) -> None:
        self._args, self._what = args, what
        self._bar: Bar | None = None
        self._told = (0, 0)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.__exit__()

    def __call__(self, files: int, all_files: int, done: int, total: int) -> None:
        """Where the work stands."""
        if self._bar is None:
            self._bar = Bar(self._args, self._what, all_files, total)
        self._bar(files - self._told[0], done - self._told[1])
        self._told = (files, done)
