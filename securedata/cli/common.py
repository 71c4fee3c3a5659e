"""What all commands share: options, output, JSON."""

from __future__ import annotations

import json
import shlex
import sys
import textwrap
from argparse import Action, ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NoReturn

from securedata.cli.streams import takes_all_letters
from securedata.errors import InvalidArgument
from securedata.printable import duration as duration
from securedata.printable import plural as plural
from securedata.printable import printable, printable_lines, without_secrets_within

if TYPE_CHECKING:
    from securedata.corpus.config import Reference
    from securedata.lifecycle.erasure.finish import Receipt
    from securedata.lifecycle.erasure.reach import Reach

SHOWN = 20
"""Lines of a list that are printed; --json has them all."""

HELD = 3
"""Exit code: done, except for rows of people under a hold."""

_SCHEME = "securedata://"


class Help(RawDescriptionHelpFormatter):
    """Help text that is the same on every Python: the usage line names the positional arguments only.

    Paragraphs are filled to the terminal's width; indented examples stay as they are.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled = (
            one
            if one.startswith(" ") or "\n " in one
            else textwrap.fill(one, width - len(indent), break_long_words=False, break_on_hyphens=False)
            for one in text.split("\n\n")
        )
        return textwrap.indent("\n\n".join(filled), indent)

    def _format_usage(self, usage: str | None, actions: Iterable[Action], groups: Any, prefix: str | None) -> str:
        words = [self._prog, "[options]"]
        for action in actions:
            if not action.option_strings:
                words.append(self._format_args(action, self._get_default_metavar_for_positional(action)))
        return f"usage: {' '.join(words)}\n\n"


class Parser(ArgumentParser):
    """A parser whose options cannot be abbreviated, so that a script does not break when options are added."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "formatter_class": Help, "allow_abbrev": False})
        self.color = False  # Python 3.14 would add escape sequences

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(printable_lines(message) if message else message, file)

    def error(self, message: str) -> NoReturn:
        # the message quotes arguments, and a URL among them can hold a password
        super().error(without_secrets_within(message))

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, but an unknown option is quoted without its value: --token=... may hold a secret."""
        found, more = self.parse_known_args(args, namespace)
        options = [word.partition("=")[0] for word in more if word.startswith("-")]
        if more:
            self.error(f"unrecognized arguments: {' '.join(options or more)}")
        return found


def add_command(
    subparsers: Any, name: str, run: Callable[[Namespace], int], *, help: str, about: str, example: str
) -> ArgumentParser:
    """Add a command's parser, with examples that a reader can copy."""
    parser: ArgumentParser = subparsers.add_parser(
        name,
        help=help,
        description=about,
        epilog=f"{'examples' if example.count(chr(10)) else 'example'}:\n{example}",
    )
    parser.set_defaults(run=run)
    return parser


def add_corpus_options(parser: ArgumentParser, reads: bool = False, lists: bool = False) -> None:
    """`--kms` and `--pin`, which override the config, which overrides the environment.

    `reads`: add `--purpose` and `--accept-generation` too, for a command that opens a corpus for reading. `lists`: add
    `--accept-generation` only, for one that counts rows whatever their consent.
    """
    group = parser.add_argument_group("corpus")
    group.add_argument(
        "--kms",
        action="append",
        metavar="URI",
        help="trusted KMS key, such as local:///home/me/voice.kek; repeatable (default: config, SECUREDATA_KMS)",
    )
    add_pin(group)
    if reads:
        add_purpose(group)
    if reads or lists:
        _add_accept_generation(group)


def add_pin(group: Any) -> None:
    """`--pin`. All are kept if it is repeated, so that writers can refuse several."""
    group.add_argument(
        "--pin", action="append", metavar="PIN", help="pin of the corpus (default: config, SECUREDATA_PIN)"
    )


def add_purpose(group: Any) -> None:
    """`--purpose`, of commands that read recordings."""
    group.add_argument(
        "--purpose",
        type=_purpose,
        metavar="PURPOSE",
        help="read only recordings with consent to this purpose, such as asr (default: config)",
    )


def _purpose(text: str) -> str:
    from securedata.corpus.state.consent import as_purpose

    try:
        return as_purpose(text)
    except InvalidArgument as error:
        raise ArgumentTypeError(str(error)) from None


def pins(args: Namespace) -> str | None:
    """The `--pin` options, for `resolve`."""
    return " ".join(args.pin) if args.pin else None


def _add_accept_generation(group: Any) -> None:
    group.add_argument(
        "--accept-generation",
        type=positive,
        metavar="N",
        help="accept generation N although this machine has seen a newer one: after a restore, or for a copy",
    )


def add_output_options(parser: ArgumentParser) -> None:
    """`--json` and `--quiet`."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print one JSON document")
    group.add_argument("-q", "--quiet", action="store_true", help="print no progress and no notes")


def add_writer_options(parser: ArgumentParser) -> None:
    """Options of commands that write."""
    group = parser.add_argument_group("writing")
    group.add_argument(
        "--single-writer",
        action="store_true",
        help="allow storage where concurrent writers could lose rows; use it only if nobody else writes there",
    )
    _add_accept_generation(group)


def positive(text: str) -> int:
    """An option's value: a positive whole number."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def count(text: str) -> int:
    """An option's value: a whole number, also 0."""
    return 0 if text == "0" else positive(text)


_PERIODS = {"h": 3600.0, "d": 24 * 3600.0, "w": 7 * 24 * 3600.0}


def period(text: str) -> float:
    """An option's value in seconds: a whole number of hours, days or weeks, such as 36h, 14d or 2w."""
    number, unit = text[:-1], text[-1:]
    if unit not in _PERIODS or not (number.isascii() and number.isdecimal()) or len(number) > 6:
        raise ArgumentTypeError(f"{text!r} is not a time such as 36h, 14d or 2w")
    return int(number) * _PERIODS[unit]


def add_threads(parser: Any, default: str) -> None:
    """`--threads`."""
    text = f"files processed at once (default: {default})"
    parser.add_argument("--threads", type=positive, metavar="N", help=text)


def add_engine(parser: Any, what: str) -> None:
    """`--engine`."""
    from securedata.corpus.tasks.engine import ENGINES, LOCAL

    text = (
        f"where {what}: {LOCAL}, in this process, or ray, as tasks of the Ray cluster that RAY_ADDRESS or this machine "
        f"names; see docs/scale.md (default: {LOCAL})"
    )
    parser.add_argument("--engine", choices=ENGINES, default=LOCAL, help=text)


def add_target(parser: ArgumentParser) -> None:
    """The positional argument CORPUS."""
    parser.add_argument("target", metavar="CORPUS", help="NAME, securedata://NAME, a path or a URL")


def split_target(target: str, path: str) -> tuple[str, str]:
    """The corpus and the path in it: securedata://NAME/PATH is split, and `path` appended."""
    if target.startswith(_SCHEME):
        name, _, rest = target[len(_SCHEME) :].partition("/")
        return _SCHEME + name, "/".join(part for part in (rest.strip("/"), path) if part)
    return target, path


def reference(args: Namespace, target: str) -> Reference:
    """The corpus that a command names."""
    from securedata.corpus.config import resolve

    found = resolve(target, args.kms, pins(args))
    purpose = getattr(args, "purpose", None)
    return found if purpose is None else replace(found, options={**found.options, "purpose": purpose})


def out(text: str) -> None:
    """Print a result on standard output, with control characters escaped."""
    print(printable_lines(text))


def err(text: str) -> None:
    """Print a message on standard error, as `out` does, and without secrets in URLs: logs may keep it."""
    print(printable_lines(without_secrets_within(text)), file=sys.stderr)


def say(args: Namespace, text: str) -> None:
    """Print a note on standard error, unless --quiet or --json is given."""
    if not args.quiet and not args.json:
        err(text)


def warn(text: str) -> None:
    """Print a warning, with --quiet and --json too."""
    err(f"securedata: {text}")


def fail(text: str) -> int:
    """Print the one line that explains exit code 1, and return 1."""
    warn(f"error: {text}")
    return 1


def show(args: Namespace, title: str, lines: Sequence[str]) -> None:
    """Print a list on standard error, cut if it is long; --json has all of it."""
    if args.json or not lines:
        return
    err(f"{title} ({len(lines):,}):")
    for line in lines[:SHOWN]:
        err(f"  {printable(line)}")
    if len(lines) > SHOWN:
        err(f"  and {len(lines) - SHOWN:,} more (--json lists them all)")


def show_held(args: Namespace, paths: Sequence[str]) -> None:
    """Say which rows stay as they are because one of their people is under a hold."""
    if paths:
        show(args, "under a hold, left as they are", paths)
        warn(f"{plural(len(paths), 'row')} under a hold, left as {'it is' if len(paths) == 1 else 'they are'}")


def print_json(document: object) -> None:
    """Print the document of `--json`, with control characters as JSON escapes."""
    out(json.dumps(document, indent=2, ensure_ascii=not takes_all_letters()))


def size(count: float) -> str:
    """Bytes as text: 512 B, 9.7 kB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def wants_progress(args: Namespace) -> bool:
    """Whether to show a progress bar if standard error is a terminal."""
    return not (args.quiet or args.json)


def receipt_json(one: Receipt) -> dict[str, Any]:
    """A receipt as `--json` prints it."""
    return {**asdict(one), "path": None if one.path is None else str(one.path)}


def reach_json(one: Reach) -> dict[str, Any]:
    """What became of a corpus made from this one, as `--json` prints it."""
    return {**asdict(replace(one, receipts=())), "receipts": [receipt_json(each) for each in one.receipts]}


def in_packs(receipts: Iterable[Receipt]) -> list[tuple[str, int]]:
    """What `show_in_packs` takes."""
    return [(one.corpus, one.packs) for one in receipts]


def show_in_packs(left: Iterable[tuple[str, int]]) -> None:
    """Say in how many packs of which corpus sealed bytes of what was erased stay; every command that erases does."""
    for corpus, packs in dict.fromkeys((corpus, packs) for corpus, packs in left if packs):
        out(
            f"crypto-erased in {plural(packs, 'pack')} of {corpus}: the sealed bytes stay there, without their keys, "
            f"until {shlex.join(('securedata', 'pack', corpus, '--compact', '0', '--now'))!r}; "
            "'securedata receipt complete' then says so"
        )


def show_unpacked(args: Namespace, objects: int) -> None:
    """Say that objects were sealed again outside their packs, if they were."""
    if objects:
        say(
            args,
            f"{plural(objects, 'object')} of packs sealed again outside them: 'securedata pack {args.target}' packs "
            "them again; the old packs go after 24 hours, or by 'pack --compact' if other objects are in them",
        )
