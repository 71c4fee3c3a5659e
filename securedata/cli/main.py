"""The `securedata` command. Exit codes: 0; 1 with one clear line on standard error; 2 for usage."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from securedata.errors import InvalidArgument, SecuredataError, SubjectUnknown

_ABOUT = """\
Speech corpora that lie encrypted on storage and are plaintext only in the memory of the process that trains on them.

A corpus is named in four ways: NAME or securedata://NAME (from the config file), a path, or a URL."""

_EXAMPLE = """\
examples:
  securedata encrypt ./wavs ./sealed --speaker-pattern '{speaker}/{utterance}'
  securedata ls sealed
  securedata verify sealed
  securedata export sealed ./restored --allow-plaintext-export

'securedata COMMAND --help' explains each. KMS and pin come from flags, the config file
(~/.config/securedata/config.toml) or SECUREDATA_KMS and SECUREDATA_PIN, in this order."""

DISTRIBUTION = "securedata-torch"

# command: module that adds it; modules load no corpus code before they run
_COMMANDS = {
    "init": "securedata.cli.init",
    "encrypt": "securedata.cli.encrypt",
    "ls": "securedata.cli.look",
    "info": "securedata.cli.info",
    "cat": "securedata.cli.look",
    "export": "securedata.cli.keep",
    "verify": "securedata.cli.keep",
    "bench": "securedata.cli.bench.command",
}


def parser() -> ArgumentParser:
    """The whole command's parser."""
    top = ArgumentParser(
        prog="securedata", description=_ABOUT, epilog=_EXAMPLE, formatter_class=RawDescriptionHelpFormatter
    )
    top.add_argument("--version", action="version", version=f"securedata {version(DISTRIBUTION)}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in dict.fromkeys(_COMMANDS.values()):
        import_module(module).add_parser(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = parser().parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except (InvalidArgument, SubjectUnknown) as error:
        print(f"securedata {args.command}: {error}", file=sys.stderr)
        return 2
    except SecuredataError as error:
        print(f"securedata: error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # whoever read our output has seen enough; keep the interpreter from complaining at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("\nsecuredata: interrupted; what was committed stays, run it again for the rest", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
