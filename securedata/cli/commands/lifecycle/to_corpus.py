"""`securedata export --to-corpus`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict, replace

from securedata.cli.common import (
    HELD,
    count,
    duration,
    fail,
    out,
    pins,
    plural,
    print_json,
    say,
    show,
    size,
    wants_progress,
)
from securedata.errors import InvalidArgument, SecuredataError

ABOUT = (
    "With --to-corpus: hand recordings on as a sealed corpus of its own, with its own KMS key, in another place. Each\n"
    "is opened in memory, checked, and sealed again; no plaintext is written. People, words, splits, consent and\n"
    "holds come along, and this corpus's head names the other one, so that an erasure, a hold and a withdrawal reach\n"
    "it. What may not be read is left out and listed. A later run adds what is new, takes over other words and\n"
    "consent, and deletes nothing."
)

_ONLY_HERE = ("subjects", "splits", "name", "to_kms", "to_pin", "single_writer", "verify_sample", "seed")
_SINGULAR = {"subjects": "subject", "splits": "split"}
_ONLY_THERE = ("overwrite", "allow_plaintext_export", "held", "mode_from_umask")


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this mode."""
    group = parser.add_argument_group("another corpus, with --to-corpus")
    group.add_argument("--to-corpus", metavar="OTHER", help="NAME, a path or a URL; made if it is missing")
    group.add_argument(
        "--subject",
        dest="subjects",
        action="append",
        metavar="ID",
        help="only recordings of this person; repeatable: of these people and nobody else",
    )
    group.add_argument(
        "--split", dest="splits", action="append", metavar="SPLIT", help="only recordings of this split; repeatable"
    )
    group.add_argument("--name", metavar="NAME", help="name of a new corpus (default: its folder's)")
    group.add_argument("--to-kms", action="append", metavar="URI", help="its KMS key, as --kms for CORPUS; repeatable")
    group.add_argument("--to-pin", metavar="PIN", help="its pin, as --pin for CORPUS")
    group.add_argument(
        "--single-writer",
        action="store_true",
        help="allow storage where concurrent writers could lose rows; use it only if nobody else writes there",
    )
    group.add_argument(
        "--verify-sample",
        type=count,
        metavar="N",
        help="how many recordings to read from both corpora in the end and compare (default: 100)",
    )
    group.add_argument("--seed", type=count, metavar="N", help="choose other ones to compare (default: 0)")


def refuse_options(args: Namespace) -> None:
    """Refuse options of this mode in the other one. Raises InvalidArgument"""
    _refuse(args, _ONLY_HERE, "--to-corpus OTHER is missing: without it, plaintext is exported, which has no")


def hand_on(args: Namespace) -> int:
    """Run `securedata export --to-corpus`."""
    if args.destination is not None:
        raise InvalidArgument("DEST is for plaintext, and --to-corpus for a sealed corpus: leave one of them out")
    _refuse(args, _ONLY_THERE, "--to-corpus writes no plaintext, and has no")
    from securedata.lifecycle.copying.export_to_corpus import export_to_corpus

    report = export_to_corpus(
        args.target,
        args.to_corpus,
        paths=args.path,
        subjects=args.subjects,
        splits=args.splits,
        purpose=args.purpose,
        threads=args.threads,
        verify_sample=100 if args.verify_sample is None else args.verify_sample,
        seed=args.seed or 0,
        name=args.name,
        kms=args.kms,
        pin=pins(args),
        to_kms=args.to_kms,
        to_pin=args.to_pin,
        single_writer=args.single_writer,
        accept_generation=args.accept_generation,
        progress=wants_progress(args),
    )
    failed, different = _listed(report.failed), _listed(report.different)
    if args.json:
        known = asdict(replace(report, failed=[], different=[], created=None))
        del known["created"]
        print_json({**known, "failed": failed, "different": different, "complete": report.complete})
    else:
        out(
            f"{plural(report.added, 'recording')} added, {report.replaced:,} replaced, {report.updated:,} updated, "
            f"{report.unchanged:,} there already, of {report.rows:,}; {plural(report.objects, 'object')} sealed again "
            f"({size(report.bytes)}) in {duration(report.seconds)}; {report.compared:,} compared in both corpora"
        )
        if report.holds:
            say(
                args,
                f"{plural(report.holds, 'hold')} carried over: other users of {report.root} need this securedata or a "
                "newer one",
            )
        if report.created is not None:
            say(args, f"made {report.root}, known as {report.name!r}, pin {report.created.pin}")
        for title, lines in (
            ("left out because of consent or a restriction", report.left_out),
            ("left out: they name other people, too; name these with --subject", report.others),
            ("left out: no longer in the corpus", report.gone),
            ("left out: people, consents or recordings that were erased", report.erased),
            (f"no longer in {report.source}, and left in {report.root}: remove them there", report.kept),
            (
                "not handed on: their recording has other segments that were not chosen or may not be read; choose "
                "all of them, or cut a recording of several people with 'securedata split'",
                report.shared,
            ),
            (f"not handed on: {report.root} has another recording of this path", report.conflicts),
            ("under a hold, left as they were", report.held),
            ("not handed on", [f"{one['path']}: {one['text']}" for one in failed]),
            ("not the same in both corpora", [f"{one['path']}: {one['text']}" for one in different]),
        ):
            show(args, title, lines)
    if report.findings > len(report.held):
        return fail(f"{plural(report.findings, 'recording')} of {report.source} not handed on as chosen")
    return HELD if report.held else 0


def _refuse(args: Namespace, names: tuple[str, ...], text: str) -> None:
    for name in names:
        if getattr(args, name) is not None and getattr(args, name) is not False:
            option = _SINGULAR.get(name, name).replace("_", "-")
            raise InvalidArgument(f"{text} --{option}")


def _listed(errors: list[tuple[str, SecuredataError]]) -> list[dict[str, str]]:
    return [{"path": path, "error": type(error).__name__, "text": str(error)} for path, error in errors]
