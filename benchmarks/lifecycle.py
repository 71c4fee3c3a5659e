"""The costs of people's rights: rotating the keys of a corpus.

    python -m benchmarks.lifecycle                   all sections; about ten minutes
    python -m benchmarks.lifecycle rotate            one of them: rotate, data-keys, erase, retain
    python -m benchmarks.lifecycle rotate --rows 1000000 --runs 3    smaller

benchmarks/README.md says what each section measures. Storage is SeaweedFS, the KMS OpenBao.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.sections import data_keys, erasure, retaining, rotation
from benchmarks.tools import machine, report
from benchmarks.tools.process import isolated
from benchmarks.tools.stats import Figure, figures_table

Found = tuple[list[Figure], dict[str, object]]


def section_rotate(args: argparse.Namespace, work: Path) -> Found:
    return rotation.measure(work, [int(rows) for rows in args.rows.split(",")], args.runs)


def section_data_keys(args: argparse.Namespace, work: Path) -> Found:
    return data_keys.measure(work, args.speech, args.clips, args.runs)


def section_erase(args: argparse.Namespace, work: Path) -> Found:
    return erasure.measure(work, args.people, args.runs)


def section_retain(args: argparse.Namespace, work: Path) -> Found:
    return retaining.measure(work, args.speech, args.clips, args.runs)


SECTIONS: dict[str, Callable[[argparse.Namespace, Path], Found]] = {
    "rotate": section_rotate,
    "data-keys": section_data_keys,
    "erase": section_erase,
    "retain": section_retain,
}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"some of: {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--runs", type=int, default=7, help="runs of each measurement (7 or more for a 95 %% interval)")
    parser.add_argument("--rows", default="1000000,10000000", help="rotate: numbers of rows, with commas between")
    parser.add_argument("--clips", type=int, default=400, help="data-keys, retain: recordings, 10 s each")
    parser.add_argument("--people", type=int, default=1000, help="erase: how many at once; each has about 100 rows")
    parser.add_argument("--speech", type=Path, help="a folder of speech for the clips, instead of Debian's prompts")
    parser.add_argument("--work", type=Path, help="where clips are made and kept; default: temporary")
    parser.add_argument("--out", type=Path, default=report.OUT, help="folder for lifecycle.json")
    args = parser.parse_args(argv)
    if unknown := set(args.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    about = machine.describe()
    figures: list[Figure] = []
    results: dict[str, object] = {}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="securedata-bench-")))
        work = args.work or scratch
        work.mkdir(parents=True, exist_ok=True)
        stack.enter_context(isolated(scratch))
        os.environ["TMPDIR"] = str(scratch)
        for name in args.sections or SECTIONS:
            print(f"== {name}", file=sys.stderr)
            more, results[name] = SECTIONS[name](args, work)
            figures += more
    written = report.write(args.out, "lifecycle", about, figures, {"sections": results})
    print(f"\n{machine.line(about)}\n\n{figures_table(figures)}\n\nwritten: {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
