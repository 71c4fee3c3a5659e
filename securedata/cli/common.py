"""What all commands share: common options, remarks, JSON."""

from __future__ import annotations

import json
import sys
import textwrap
from argparse import Action, ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from securedata.cli.streams import takes_all_letters
from securedata.printable import plural as plural
from securedata.printable import printable, printable_lines, without_secrets_within

if TYPE_CHECKING:
    from securedata.corpus.config import Reference

SHOWN = 20
"""Lines of a list that people get to see; --json has them all."""

_SCHEME = "securedata://"


class Help(RawDescriptionHelpFormatter):
    """Help with the positional arguments in the usage line and the options below: the same text on every Python.

    Paragraphs are set to the terminal's width; examples, which are indented, stay as they are.
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
        self.color = False  # of Python 3.14

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(printable_lines(message) if message else message, file)

    def error(self, message: str) -> NoReturn:
        # it quotes arguments, and a URL among them may hold a password
        super().error(without_secrets_within(message))

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, which quotes also what follows an option that nobody knows, as in --token=..."""
        found, more = self.parse_known_args(args, namespace)
        options = [word.partition("=")[0] for word in more if word.startswith("-")]
        if more:
            self.error(f"unrecognized arguments: {' '.join(options or more)}")
        return found


def add_command(
    subparsers: Any, name: str, run: Callable[[Namespace], int], *, help: str, about: str, example: str
) -> ArgumentParser:
    """A command's parser, with an example that a reader can copy."""
    parser: ArgumentParser = subparsers.add_parser(
        name,
        help=help,
        description=about,
        epilog=f"{'examples' if example.count(chr(10)) else 'example'}:\n{example}",
    )
    parser.set_defaults(run=run)
    return parser


def add_corpus_options(parser: ArgumentParser, reads: bool = False) -> None:
    """Which corpus is meant and who may open it: flags over the config over the environment.

    `reads`: the command opens a corpus for reading, and takes `--accept-generation`.
    """
    group = parser.add_argument_group("corpus")
    group.add_argument(
        "--kms",
        action="append",
        metavar="URI",
        help="KMS key that is trusted, as local:///home/me/voice.kek; may be given again (or: config, SECUREDATA_KMS)",
    )
    add_pin(group)
    if reads:
        _add_accept_generation(group)


def add_pin(group: Any) -> None:
    """`--pin`: one that is given again does not take the place of the one before, since writers refuse several."""
    group.add_argument(
        "--pin", action="append", metavar="PIN", help="which corpus is meant (or: config, SECUREDATA_PIN)"
    )


def pins(args: Namespace) -> str | None:
    """What `--pin` said, for `resolve`."""
    return " ".join(args.pin) if args.pin else None


def _add_accept_generation(group: Any) -> None:
    group.add_argument(
        "--accept-generation",
        type=positive,
        metavar="N",
        help="accept a head of this generation although a newer one was seen: you restored it, or it is a copy",
    )


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
    _add_accept_generation(group)


def positive(text: str) -> int:
    """An option's value: a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def add_threads(parser: Any, default: str) -> None:
    """`--threads`."""
    text = f"files under way at once (default: {default})"
    parser.add_argument("--threads", type=positive, metavar="N", help=text)


def add_target(parser: ArgumentParser) -> None:
    """The corpus to read."""
    parser.add_argument("target", metavar="CORPUS", help="NAME, securedata://NAME, a path or a URL")


def split_target(target: str, path: str) -> tuple[str, str]:
    """A corpus and a path in it, which securedata://NAME/PATH holds both."""
    if target.startswith(_SCHEME):
        name, _, rest = target[len(_SCHEME) :].partition("/")
        return _SCHEME + name, "/".join(part for part in (rest.strip("/"), path) if part)
    return target, path


def reference(args: Namespace, target: str) -> Reference:
    """The corpus that a command means."""
    from securedata.corpus.config import resolve

    return resolve(target, args.kms, pins(args))


def out(text: str) -> None:
    """The command's answer, on standard output. Names in it, which others made, cannot steer a terminal."""
    print(printable_lines(text))


def err(text: str) -> None:
    """Whatever else is said, on standard error, as `out` writes; it can be kept in logs, so no URL shows a secret."""
    print(printable_lines(without_secrets_within(text)), file=sys.stderr)


def say(args: Namespace, text: str) -> None:
    """A remark for people, on standard error."""
    if not args.quiet and not args.json:
        err(text)


def warn(text: str) -> None:
    """What people must hear of, also with --quiet and --json."""
    err(f"securedata: {text}")


def fail(text: str) -> int:
    """The one line that says why the exit code is 1."""
    warn(f"error: {text}")
    return 1


def show(args: Namespace, title: str, lines: Sequence[str]) -> None:
    """A list for people on standard error, cut where it is long; --json has it as a whole."""
    if args.json or not lines:
        return
    err(f"{title} ({len(lines):,}):")
    for line in lines[:SHOWN]:
        err(f"  {printable(line)}")
    if len(lines) > SHOWN:
        err(f"  and {len(lines) - SHOWN:,} more (--json lists them all)")


def print_json(document: object) -> None:
    """The document of `--json`. What could steer a terminal is escaped as JSON escapes it."""
    out(json.dumps(document, indent=2, ensure_ascii=not takes_all_letters()))


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """Seconds for people: 0.50 s, 4:05, 12:00:05."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def wants_progress(args: Namespace) -> bool:
    """Whether a bar may be shown; there is one only where standard error is a terminal."""
    return not (args.quiet or args.json)
