"""`securedata retain`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict, replace
from typing import Any

from securedata.cli.common import (
    HELD,
    add_command,
    add_corpus_options,
    add_engine,
    add_output_options,
    add_purpose,
    add_target,
    add_writer_options,
    count,
    duration,
    fail,
    out,
    pins,
    plural,
    positive,
    print_json,
    say,
    show,
    show_in_packs,
    size,
    wants_progress,
    warn,
)
from securedata.errors import InvalidArgument, SecuredataError


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "retain",
        retain,
        help="compute features into a corpus of their own",
        about=(
            "Compute features of every recording, and seal them into a corpus of their own, from which\n"
            "EncryptedFeatureDataset trains. People, words, splits, consent, purposes and expiry come along, and the\n"
            "source's head names the new corpus, so that an erasure reaches it too.\n\n"
            "Then every object of features is read back and opened, and a sample is computed again and compared. The\n"
            "recordings stay in CORPUS, unless --erase-raw erases them. If a run is killed, run it again: it goes on\n"
            "where it stopped. A later run adds what is new in CORPUS, and computes anew what has changed.\n\n"
            "Features still give away who speaks, and remain personal data.\n\n"
            "Exit codes: 0: done. 1: a recording has no features, or verification found something; both are listed.\n"
            "3: done, except that recordings under a hold were not erased, or their features not replaced."
        ),
        example=(
            "  securedata retain voice-a --to ./features-a --features log-mel\n"
            "  securedata retain voice-a --to ./mfcc-a --features mfcc --set n_mfcc=20\n"
            "  PYTHONPATH=. securedata retain voice-a --to ./own --features mine:pitch"
        ),
    )
    add_target(parser)
    parser.add_argument(
        "--to",
        metavar="FEATURES",
        required=True,
        help="corpus of features: NAME, a path or a URL; made if it is missing",
    )
    parser.add_argument(
        "--features",
        metavar="TRANSFORM",
        required=True,
        help=(
            "log-mel, mfcc or fbank (torchaudio), or MODULE:FUNCTION, which takes float32 [channels, frames] and the\n"
            "rate in Hz and returns a tensor [channels, features, frames]"
        ),
    )
    parser.add_argument(
        "--set",
        dest="arguments",
        action="append",
        metavar="ARGUMENT=VALUE",
        help="argument of the transform, by torchaudio's name; repeatable (default: windows of 25 ms every 10 ms)",
    )
    parser.add_argument(
        "--sample-rate",
        type=positive,
        metavar="HZ",
        help="resample to this rate before (default: the recordings' rate)",
    )
    parser.add_argument("--dtype", choices=["float16", "float32"], help="of the features (default: float16)")
    parser.add_argument("--workers", type=count, metavar="N", help="processes that compute (default: one per core)")
    add_engine(parser, "features are computed")
    parser.add_argument(
        "--verify-sample",
        type=count,
        default=100,
        metavar="N",
        help="how many recordings to compute again and compare (default: 100)",
    )
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="choose other ones to compare (default: 0)")
    parser.add_argument(
        "--erase-raw",
        action="store_true",
        help="then erase all recordings of CORPUS, with a receipt, if each has features and all is verified",
    )
    parser.add_argument("--name", metavar="NAME", help="name of a new corpus of features (default: its folder's)")
    group = parser.add_argument_group("corpus of features")
    group.add_argument("--to-kms", action="append", metavar="URI", help="its KMS key, as --kms for CORPUS; repeatable")
    group.add_argument("--to-pin", metavar="PIN", help="its pin, as --pin for CORPUS")
    add_corpus_options(parser)
    add_purpose(parser)
    add_writer_options(parser)
    add_output_options(parser)


def retain(args: Namespace) -> int:
    """Run `securedata retain`."""
    from securedata.lifecycle.retain import retain as compute

    report = compute(
        args.target,
        to=args.to,
        features=args.features,
        arguments=_arguments(args.arguments or ()),
        sample_rate=args.sample_rate,
        dtype=args.dtype,
        purpose=args.purpose,
        workers=args.workers,
        engine=args.engine,
        verify_sample=args.verify_sample,
        seed=args.seed,
        erase_raw=args.erase_raw,
        name=args.name,
        kms=args.kms,
        pin=pins(args),
        to_kms=args.to_kms,
        to_pin=args.to_pin,
        single_writer=args.single_writer,
        accept_generation=args.accept_generation,
        progress=wants_progress(args),
    )
    failed, unreadable = _listed(report.failed), _listed(report.unreadable)
    if args.json:
        known = asdict(replace(report, failed=[], unreadable=[], created=None))
        del known["created"]
        print_json({**known, "failed": failed, "unreadable": unreadable, "complete": report.complete})
    else:
        out(
            f"features of {plural(report.added, 'recording')} added, {report.replaced:,} replaced, "
            f"{report.unchanged:,} there already, of {report.rows:,}; {size(report.bytes)} became "
            f"{size(report.feature_bytes)} in {duration(report.seconds)}"
        )
        out(
            f"verified: {plural(report.opened, 'object')} opened; {report.compared:,} computed again, "
            f"{report.identical:,} of them identical, in {duration(report.seconds_verify)}"
        )
        if report.raw_erased is not None:
            erased = plural(report.raw_erased, "recording")
            out(f"erased: {erased} of {report.source}; receipt: {report.receipt or 'none'}")
            show_in_packs([(args.target, report.raw_packs), *report.raw_packs_elsewhere.items()])
        elif args.erase_raw:
            warn(f"no recording of {report.source} was erased, because of what follows")
        if report.left_out:
            say(args, f"{plural(report.left_out, 'recording')} left out because of consent or a restriction")
        if report.others:
            say(args, f"{plural(report.others, 'file')} left as they are: no recordings")
        if report.created is not None:
            say(args, f"made {report.root}, known as {report.name!r}, pin {report.created.pin}")
        for title, lines in (
            ("left out: no longer in the corpus", report.gone),
            ("left out: people who were erased", report.erased),
            ("under a hold, left as they were", report.held),
            ("without features", [f"{one['path']}: {one['text']}" for one in failed]),
            ("does not open", [f"{one['path']}: {one['text']}" for one in unreadable]),
            ("computed again with another result", report.different),
            ("recordings under a hold, not erased", report.raw_held),
        ):
            show(args, title, lines)
    for pin, why in report.raw_unreached.items():
        warn(f"corpus {pin}, made from {report.source}, has still to be reached by earlier erasures: {why}")
    found = len(failed) + len(unreadable) + len(report.different)
    if found or (report.held and args.erase_raw):
        return fail(f"{plural(found + len(report.held), 'finding')} in the features of {report.source}")
    return HELD if report.held or report.raw_held else 0


def _arguments(given: Any) -> dict[str, str]:
    found = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise InvalidArgument(f"--set takes ARGUMENT=VALUE, such as n_mels=64, not {one!r}")
        found[key] = value
    return found


def _listed(errors: list[tuple[str, SecuredataError]]) -> list[dict[str, str]]:
    return [{"path": path, "error": type(error).__name__, "text": str(error)} for path, error in errors]
