"""The command: its options, and what it prints."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from securedata.bench import units
from securedata.cli.common import (
    add_corpus_options,
    add_output_options,
    add_purpose,
    out,
    print_json,
    reference,
)
from securedata.errors import InvalidArgument

if TYPE_CHECKING:
    from securedata.bench.throughput import Progress

SIZES = "4kB,32kB,100kB,1MiB,16MiB"
RANGES = "16kB,128kB"
RANGE_OF = 16 << 20
SECONDS = 20.0
BATCH_SIZE = 16
_IN_MEMORY = ("sizes", "ranges")
_OF_CORPUS = ("kms", "pin", "batch_size", "samples", "sample_rate", "num_frames")

_ABOUT = "Measure how fast this host decrypts; with --corpus, how fast a corpus becomes tensors on it."

_HOW_TO_READ = """\
examples:
  securedata bench                         # about 20 seconds
  securedata bench --corpus voice-a --workers 0,4,8 --batch-size 32

how to read it:
  securedata GB/s  10^9 bytes of plaintext per second, of all workers together,
                   from sealed bytes in memory into a reused buffer: header
                   checks, key derivation, commitment and every 16 KiB chunk.
                   A range, such as a crop of a WAV, starts anywhere; the
                   chunks that it touches are decrypted.
  of AES-GCM       securedata GB/s as a fraction of AES-GCM GB/s, compared
                   within each round.
  AES-GCM GB/s     the limit: one call of AESGCM.decrypt_into for as many bytes.
  memcpy GB/s      copying as many bytes: what caches and memory allow.

The CPU flag that matters is aes, and on x86-64 vaes: without it a core is less than half as fast.

With --corpus: samples/s that a DataLoader yields with 0 and with N workers, and the milliseconds that a worker spends
per sample to fetch, decrypt and decode it, and to pad its batch. If decrypt is a small part of the sum, faster
decryption would not make training faster. A second pass over a corpus that fits into memory reads from the page cache.

Values are medians of interleaved rounds, with 95 % intervals in brackets. The host should be idle.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser: ArgumentParser = subparsers.add_parser(
        "bench",
        help="measure decryption on this host, or loading a corpus",
        description=_ABOUT,
        epilog=_HOW_TO_READ,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--seconds",
        type=units.seconds,
        default=SECONDS,
        help=f"approximate total time (default {SECONDS:g})",
    )
    parser.add_argument(
        "--workers",
        type=units.counts,
        metavar="N,...",
        help="numbers of processes (default 1, 2, 4, ... all cores); with --corpus, numbers of DataLoader workers, "
        "0 for none (default 0 and all cores)",
    )
    parser.add_argument(
        "--sizes", type=units.sizes, metavar="SIZE,...", help=f"sizes of whole objects (default {SIZES})"
    )
    parser.add_argument(
        "--ranges",
        type=units.sizes_or_none,
        metavar="SIZE,...",
        help=f"lengths of ranges in an object of {units.size_name(RANGE_OF)}, or none (default {RANGES})",
    )
    real = parser.add_argument_group("loading")
    real.add_argument("--corpus", metavar="CORPUS", help="load this corpus (NAME, path or URL) instead")
    real.add_argument(
        "--batch-size", type=units.positive, metavar="N", help=f"samples in a batch (default {BATCH_SIZE})"
    )
    real.add_argument(
        "--samples", type=units.positive, metavar="N", help="stop after about N samples for each number of workers"
    )
    real.add_argument("--sample-rate", type=units.positive, metavar="HZ", help="resample, as in training")
    real.add_argument("--num-frames", type=units.positive, metavar="N", help="crop at random, as in training")
    add_corpus_options(parser)
    add_purpose(parser)
    add_output_options(parser)
    parser.add_argument("--png", type=Path, metavar="FILE", help="also draw the figures (needs securedata-torch[plot])")


def run(args: Namespace) -> int:
    """Measure and print; returns the exit code.

    Raises:
        InvalidArgument: options that do not go together.
        SecuredataError
    """
    _check(args)
    if args.png is not None:
        from securedata.bench import plot

        plot.check(args.png)
    if args.corpus is not None:
        _corpus(args)
    else:
        _memory(args)
    return 0


def _check(args: Namespace) -> None:
    there = {name for name in (*_IN_MEMORY, *_OF_CORPUS) if getattr(args, name) is not None}
    wrong = there & set(_OF_CORPUS if args.corpus is None else _IN_MEMORY)
    if wrong:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(wrong))
        raise InvalidArgument(f"{options}: only {'with' if args.corpus is None else 'without'} --corpus")
    if args.corpus is None and args.workers and args.workers[0] == 0:
        raise InvalidArgument("--workers 0: only with --corpus; without it, worker processes do all the work")
    if any(length > RANGE_OF for length in args.ranges or ()):
        raise InvalidArgument(
            f"--ranges: at most {units.size_name(RANGE_OF)}, the size of the object that they are cut from"
        )


def _memory(args: Namespace) -> None:
    from securedata.bench import host, report
    from securedata.bench.throughput import measure, worker_counts
    from securedata.bench.work import Case

    sizes = args.sizes if args.sizes is not None else units.sizes(SIZES)
    ranges = args.ranges if args.ranges is not None else units.sizes(RANGES)
    cases = [*(Case(size) for size in sizes), *(Case(RANGE_OF, length) for length in ranges)]
    counts = args.workers or worker_counts(host.usable_cores())
    described = host.describe()  # before we load the host ourselves
    with _progress(args) as progress:
        measured = measure(cases, counts, args.seconds, progress)
    if args.json:
        print_json({"benchmark": "memory", "host": described, **measured.json()})
    else:
        out(report.throughput_report(measured, described))
    if args.png is not None:
        from securedata.bench import plot

        plot.plot_throughput(measured, described, args.png)


def _corpus(args: Namespace) -> None:
    from securedata.bench import host, loading, report

    described = host.describe()
    counts = args.workers or (0, host.usable_cores())
    batch_size = args.batch_size or BATCH_SIZE
    with loading.open_dataset(reference(args, args.corpus), args.sample_rate, args.num_frames) as dataset:
        opened = dataset.corpora[0]
        corpus = {
            "name": opened.name,
            "root": opened.root,
            "generation": opened.generation,
            "rows": len(opened),
            "batch_size": batch_size,
            "sample_rate": args.sample_rate,
            "num_frames": args.num_frames,
        }
        with _progress(args) as progress:
            measured = loading.measure(dataset, counts, batch_size, args.seconds, args.samples, progress)
    if args.json:
        print_json(
            {
                "benchmark": "corpus",
                "host": described,
                "corpus": corpus,
                "results": [one.json() for one in measured],
            }
        )
    else:
        out(report.loading_report(measured, described, corpus))
    if args.png is not None:
        from securedata.bench import plot

        plot.plot_loading(measured, described, corpus, args.png)


@contextmanager
def _progress(args: Namespace) -> Iterator[Progress]:
    """A progress bar over the time, if stderr is a terminal."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no monitor thread: processes are about to be forked
    seconds: float = args.seconds
    hidden = args.quiet or args.json or not sys.stderr.isatty()
    style = "{l_bar}{bar}| {n:.0f}/{total:.0f} s{postfix}"
    with tqdm(total=seconds, bar_format=style, file=sys.stderr, disable=hidden, leave=False) as bar:

        def update(passed: float, what: str) -> None:
            bar.set_postfix_str(what, refresh=False)
            bar.update(min(passed, seconds) - bar.n)

        yield update
