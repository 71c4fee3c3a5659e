"""The costs of a corpus: samples of real clips, a million rows, a hundred thousand unchanged files, cuts of lhotse.

    python -m benchmarks.corpus                      all sections; about fifteen minutes
    python -m benchmarks.corpus clips again          some of them: clips, million, again, lhotse
    python -m benchmarks.corpus million --runs 3 --work DIR    fewer runs; keep clips and corpora in DIR, and reuse them

benchmarks/README.md says what each section measures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from benchmarks.data import clips, corpora
from benchmarks.sections import lhotse_cuts, million, reingest, sample_cost
from benchmarks.tools import machine, report
from benchmarks.tools.process import isolated
from benchmarks.tools.stats import Figure, figures_table

Found = tuple[list[Figure], dict[str, object]]


def clip_files(args: argparse.Namespace, work: Path) -> list[Path]:
    return clips.make(clips.speech_folder(args.speech, work / "prompts"), work / "clips", args.clips)


def corpus(work: Path, files: Sequence[Path], rows: int) -> corpora.Made:
    """A corpus with that many rows, made once for each `work` folder."""
    root, note = work / f"rows-{rows}", work / f"rows-{rows}.json"
    wanted = {"clips": len(files), "rows": rows}
    if note.exists() and (known := json.loads(note.read_text(encoding="utf-8")))["wanted"] == wanted:
        return corpora.Made(**known["made"])
    shutil.rmtree(root, ignore_errors=True)
    (work / "config" / "securedata" / "config.toml").unlink(missing_ok=True)
    print(f"making a corpus of {rows:,} rows ...", file=sys.stderr)
    made = corpora.corpus(root, work / "benchmark.kek", files, rows)
    note.write_text(json.dumps({"wanted": wanted, "made": asdict(made)}), encoding="utf-8")
    return made


def section_clips(args: argparse.Namespace, work: Path) -> Found:
    return sample_cost.measure(corpus(work, clip_files(args, work), args.clips), args.runs)


def section_million(args: argparse.Namespace, work: Path) -> Found:
    files = clip_files(args, work)
    small, large = corpus(work, files, args.few), corpus(work, files, args.rows)
    figures, results = million.measure_opening(work, large, args.runs)
    same, reading = million.measure_same(small, large, args.runs)
    above, workers = million.measure_workers(work, large, args.runs, args.methods.split(","), args.ttl)
    return figures + same + above, {"opening": results, "reading": reading, "workers": workers}


def section_again(args: argparse.Namespace, work: Path) -> Found:
    return reingest.measure(work, args.files, args.runs)


def section_lhotse(args: argparse.Namespace, work: Path) -> Found:
    return lhotse_cuts.measure(work, clip_files(args, work), args.runs, args.batch)


SECTIONS: dict[str, Callable[[argparse.Namespace, Path], Found]] = {
    "clips": section_clips,
    "million": section_million,
    "again": section_again,
    "lhotse": section_lhotse,
}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"some of: {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--runs", type=int, default=7, help="runs of each measurement (7 or more for a 95 %% interval)")
    parser.add_argument("--clips", type=int, default=64, help="number of clips of 15 s")
    parser.add_argument("--batch", type=int, default=16, help="cuts of a batch of lhotse")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the large corpus")
    parser.add_argument("--few", type=int, default=1_000, help="rows of the small one, to compare ds[i] with")
    parser.add_argument("--methods", default=",".join(million.METHODS), help="how workers are started (default: all)")
    parser.add_argument("--ttl", type=float, default=3.0, help="seconds until a measured worker renews its keys")
    parser.add_argument("--files", type=int, default=100_000, help="files of the folder that is ingested again")
    parser.add_argument("--speech", type=Path, help="a folder of speech for the clips, instead of Debian's prompts")
    parser.add_argument("--work", type=Path, help="where clips and corpora are made and kept; default: temporary")
    parser.add_argument("--out", type=Path, default=report.OUT, help="folder for corpus.json")
    args = parser.parse_args(argv)
    if unknown := set(args.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are: {', '.join(SECTIONS)}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    about = machine.describe()
    figures: list[Figure] = []
    results: dict[str, object] = {}
    with ExitStack() as stack:
        work = args.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="securedata-bench-")))
        work.mkdir(parents=True, exist_ok=True)
        stack.enter_context(isolated(work))
        for name in args.sections or SECTIONS:
            print(f"measuring {name} ...", file=sys.stderr)
            found, results[name] = SECTIONS[name](args, work)
            figures += found
    written = report.write(args.out, "corpus", about, figures, results)
    remarks = [f"{name}: {one['remark']}" for name, one in results.items() if isinstance(one, dict) and "remark" in one]
    print(f"\n{machine.line(about)}\n\n{figures_table(figures)}\n\nwritten: {written}", *remarks, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
