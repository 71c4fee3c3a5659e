"""From a folder of voices to a trained model, with plaintext only in memory. `make demo` runs this."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from demo import DemoError
from demo.workplace import Workplace
from securedata.errors import SecuredataError


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    place = Workplace(Path(options.workdir), "-cloud" if options.cloud else "")
    # so that output of the demo and of its commands stays in order in a pipe
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # it is a TextIOWrapper, here
    try:
        with place.held():
            if options.cloud and options.keep:
                raise DemoError("--keep does not work with --cloud, whose servers always start empty")
            place.begin(options.keep)
            place.isolate()
            # imported only now, because these modules may read the environment that was just set
            if options.cloud:
                from demo.cloud import tell

                return tell(options, place)
            from demo.story import Story

            return Story(options, place).tell()
    except (DemoError, SecuredataError, OSError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\ndemo: interrupted; run it again", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo.run", description=__doc__)
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="your own recordings, instead of Debian's prompts")
    parser.add_argument(
        "--speaker-pattern",
        metavar="PATTERN",
        default=os.environ.get("SPEAKERS"),
        help="which part of a path under DIR is the speaker, as in '{speaker}/*' (default: the environment's SPEAKERS)",
    )
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="NeMo JSONL, CSV or TSV with the texts of DIR")
    parser.add_argument(
        "--workdir", default="demo/out", metavar="DIR", help="folder of the demo (default: %(default)s)"
    )
    parser.add_argument("--keep", action="store_true", help="continue with the store of the last run")
    parser.add_argument("--cloud", action="store_true", help="use an object store and a KMS, which the demo starts")
    return parser


if __name__ == "__main__":
    sys.exit(main())
