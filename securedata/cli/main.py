"""The `securedata` command. Exit codes: 0; 1 with one clear line on standard error; 2 for usage; 3 for rows on hold."""

from __future__ import annotations

import os
import sys
import warnings
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TextIO

from securedata.cli.common import Parser, err, fail, out, warn
from securedata.cli.streams import standard_streams
from securedata.errors import InvalidArgument, SecuredataError, SubjectUnknown
from securedata.printable import printable, printable_lines

_ABOUT = """\
Keep speech corpora encrypted on storage, and decrypt them only in the memory of the process that trains on them.

A corpus is given as NAME or securedata://NAME (from the config file), as a path, or as a URL."""

_EXAMPLE = """\
examples:
  securedata encrypt ./wavs ./sealed --speaker-pattern '{speaker}/{utterance}'
  securedata ls sealed
  securedata verify sealed
  securedata export sealed ./restored --allow-plaintext-export

'securedata help COMMAND' explains a command, with examples. KMS keys and pin come from options, else the config
file (~/.config/securedata/config.toml), else SECUREDATA_KMS and SECUREDATA_PIN."""

DISTRIBUTION = "securedata-torch"

# each in a module of its name, which imports no corpus code before the command runs
_COMMANDS = (
    "init",
    "encrypt",
    "ls",
    "info",
    "cat",
    "export",
    "manifest",
    "verify",
    "cache",
    "remove",
    "relabel",
    "split",
    "pack",
    "people",
    "erase",
    "hold",
    "retention",
    "consent",
    "retain",
    "lineage",
    "wrap",
    "rotate",
    "list",
    "move",
    "forget",
    "session",
    "operator",
    "receipt",
    "bench",
)
_LIFECYCLE = frozenset(
    (
        "consent",
        "erase",
        "hold",
        "lineage",
        "operator",
        "pack",
        "people",
        "receipt",
        "relabel",
        "retain",
        "retention",
        "split",
    )
)
"""Those in the folder `lifecycle` below the others."""
_CONFIG = frozenset(("forget", "list", "move"))
"""Those in the folder `config`."""


def parser(command: str | None = None) -> ArgumentParser:
    """The parser for all commands, or for one only: building all of them takes most of a short command's time."""
    top = Parser(prog="securedata", description=_ABOUT, epilog=_EXAMPLE)
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    subparsers = top.add_subparsers(
        title="commands", prog="securedata", dest="command", metavar="COMMAND", required=True, parser_class=Parser
    )
    for name in [command] if command in _COMMANDS else _COMMANDS:
        folder = "lifecycle." if name in _LIFECYCLE else "config." if name in _CONFIG else ""
        import_module(f"securedata.cli.commands.{folder}{name}").add_parser(subparsers)
    return top


class _Version(Action):
    """Look up the version only on request, since that takes a third of the start-up time."""

    def __call__(self, parser: ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        out(f"securedata {version(DISTRIBUTION)}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    with standard_streams() as streams:
        try:
            code = _main(argv)
        except SystemExit:  # of --help and of usage
            if streams.lost() is None:
                raise
            code = 0
        if error := streams.lost():
            text = f"standard output cannot be written: {error.strerror}; the command itself succeeded"
            return fail(text) if code == 0 else code
        return code


def _main(argv: Sequence[str] | None) -> int:
    words = _without_help(sys.argv[1:] if argv is None else argv)
    args = parser(next((word for word in words if not word.startswith("-")), None)).parse_args(words)
    with _printable_logs(), warnings.catch_warnings():
        warnings.filterwarnings("once", ".* was opened without a pin", UserWarning)
        warnings.showwarning = _show_warning
        return _run(args)


def _without_help(words: Sequence[str]) -> Sequence[str]:
    """`help COMMAND` is `COMMAND --help`, and `help` alone is `--help`."""
    if not words or words[0] != "help":
        return words
    return [*(word for word in words[1:] if word != "help"), "--help"]


@contextmanager
def _printable_logs() -> Iterator[None]:
    """Send logs to standard error: ours as the command's own lines, other libraries' unless they have a handler.

    Control characters are escaped.
    """
    import logging  # slow, and --version and --help do not need it

    class Printable(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return printable_lines(super().format(record))

    class Own(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name != "securedata.report":  # the command shows the report itself
                warn(record.getMessage())

    own, log, last = Own(logging.WARNING), logging.getLogger("securedata"), logging.lastResort
    before = last.formatter if last else None
    log.addHandler(own)
    if last:
        last.setFormatter(Printable())
    try:
        yield
    finally:
        log.removeHandler(own)
        if last:
            last.setFormatter(before)


def _run(args: Namespace) -> int:
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except (InvalidArgument, SubjectUnknown) as error:
        err(f"securedata {args.command}: error: {_text(error)}")
        return 2
    except SecuredataError as error:
        return fail(" ".join(_text(error).splitlines()))
    except BrokenPipeError:
        # the reader closed the pipe; keep the interpreter from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UnicodeEncodeError as error:
        # file names are encoded for the system, in ASCII only where UTF-8 was switched off
        text = f"a name has characters that {error.encoding} cannot encode"
        return fail(f"{text}: set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale")
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return fail(f"{error.strerror or type(error).__name__}{where}")
    except KeyboardInterrupt:
        warn("interrupted; what was committed stays: run the command again for the rest")
        return 130


def _text(error: SecuredataError) -> str:
    """The error's text and its logical path, which texts leave out, since they are logged: this is for the user."""
    path = error.path if error.path and error.path not in str(error) else ""
    return str(error) + (f" [{printable(path)}]" if path else "")


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, UserWarning):
        warn(f"warning: {message}")
    else:
        print(
            printable_lines(warnings.formatwarning(message, category, filename, lineno, line)),
            end="",
            file=file or sys.stderr,
        )


if __name__ == "__main__":
    sys.exit(main())
