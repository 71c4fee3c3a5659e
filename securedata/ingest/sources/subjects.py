"""Whose voice each recording is: exactly one rule names the subjects, and without one nothing is sealed."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from securedata.corpus.notices import log_notice
from securedata.errors import InvalidArgument, SubjectUnknown
from securedata.ingest.sources.layouts.base import Described
from securedata.ingest.sources.layouts.candidates import candidates, perhaps_people, shown_columns
from securedata.ingest.sources.layouts.registry import describe, named, recognise
from securedata.ingest.sources.layouts.text_beside import note_unused
from securedata.ingest.sources.others import recordings_of, spread
from securedata.ingest.sources.pattern import PathPattern
from securedata.ingest.sources.walk.names import CONTROL, is_utf8, printable
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.media.audio.suffixes import without_suffix

_MANY = 6
"""Recordings of which a pattern hardly means one speaker."""

_COLUMNS = ("speaker", "utterance", "split", "language")  # names in a pattern with a column; others go to extra


def describe_files(
    tree: Tree,
    *,
    speaker_pattern: str | None = None,
    one_subject: str | None = None,
    subject_per_file: bool = False,
    layout: str = "auto",
    has_manifest: bool = False,
    manifest_names_people: bool = False,
    manifest_columns: Sequence[str] = (),
) -> tuple[Described, dict[str, Any]]:
    """Name the subject of every file by the one rule that was given, or by the recognised layout.

    Args:
        manifest_columns: the columns of the manifest, if there is one, for errors.

    Returns:
        What the rule and the layout say about each file, and the settings that record the rule in the corpus. They do
        not hold the name given as `one_subject`: settings outlive the erasure of a person.

    Raises:
        SubjectUnknown: there is no rule; the text lists the choices.
        InvalidArgument: there is more than one rule, or the rule fits no file.
    """
    given = {
        "--speaker-pattern": speaker_pattern is not None,
        "--one-subject": one_subject is not None,
        "--subject-per-file": subject_per_file,
        "the manifest's column of speakers": manifest_names_people,
    }
    rules = [name for name, is_given in given.items() if is_given]
    _check_one(rules, manifest_names_people)
    found = _by_layout(tree, layout, rules, has_manifest, manifest_names_people)
    if found is not None and found[1].names_people:
        return found[1], {"subject": {"layout": found[0]}}
    if found is not None and found[1].rows is not None:
        manifest_columns = found[1].rows.rows.columns
    if not rules:
        tables = [] if has_manifest or (found is not None and found[1].rows is not None) else candidates(tree)
        raise SubjectUnknown(_choices(tree, manifest_columns, found[1].nobody if found is not None else "", tables))
    described, settings = _by_rule(tree, speaker_pattern, one_subject, manifest_names_people)
    if found is not None:
        return _joined(described, found[1]), settings
    if layout == "auto" and not has_manifest:
        note_unused(tree, described)
    return described, settings


def _check_one(rules: list[str], manifest_names_people: bool) -> None:
    if len(rules) > 1:
        raise InvalidArgument(
            f"{' and '.join(rules)} each name the speakers: leave all but one out"
            + (" (the column: --columns speaker=)" if manifest_names_people else "")
        )


def _by_layout(
    tree: Tree, layout: str, rules: list[str], has_manifest: bool, manifest_names_people: bool
) -> tuple[str, Described] | None:
    """The layout that was chosen or is recognised, and what it says; None if there is none."""
    if layout == "none":
        return None
    whole, tree, at = tree, *recordings_of(tree)
    if not len(tree):
        return None
    found = recognise(tree) if layout == "auto" else named(layout)
    if found is None:
        return None
    if layout != "auto" and found.names_people:
        _check_one([*rules, f"--layout {layout}"], manifest_names_people)
    described = describe(found, tree, guessed=layout == "auto")
    if whole.included:
        described = spread(described, at, whole, found.name)
    if described.names_people and rules:
        raise InvalidArgument(
            f"{tree.root} has the layout {found.name}, which names the speakers, and so does {rules[0]}: "
            f"leave {rules[0]} out, or use --layout none"
        )
    if described.rows is not None and has_manifest:
        raise InvalidArgument(
            f"{tree.root} has the layout {found.name}, whose own tables take the place of a manifest: leave "
            "--manifest out, or use --layout none"
        )
    return found.name, described


def _by_rule(
    tree: Tree,
    speaker_pattern: str | None,
    one_subject: str | None,
    manifest_names_people: bool,
) -> tuple[Described, dict[str, Any]]:
    """Apply the one rule that was given."""
    if manifest_names_people:
        return Described.blank(len(tree)), {"subject": {"manifest": True}}
    if speaker_pattern is not None:
        return _by_pattern(tree, PathPattern(speaker_pattern)), {"subject": {"pattern": speaker_pattern}}
    described = Described.blank(len(tree))
    if one_subject is not None:
        name = unicodedata.normalize("NFC", one_subject)
        if not name.strip() or CONTROL.search(name) or not is_utf8(name):
            raise InvalidArgument(
                "--one-subject takes a person's name; this one is blank, or holds control characters or invalid text"
            )
        described.subject = [name] * len(tree)
        return described, {"subject": {"one": True}}
    # files that differ only in their suffix are one recording in two encodings, so one person
    described.subject = [without_suffix(path) for path in tree.paths]
    return described, {"subject": {"per_file": True}}


def _joined(by_rule: Described, layout: Described) -> Described:
    """The subjects of a rule with the texts of a layout that names nobody; values of the rule take precedence."""
    for name in ("utterance", "transcript", "split", "language"):
        ours, theirs = getattr(by_rule, name), getattr(layout, name)
        setattr(by_rule, name, [one or other for one, other in zip(ours, theirs, strict=True)])
    by_rule.extra = [
        {**(other or {}), **(one or {})} or None for one, other in zip(by_rule.extra, layout.extra, strict=True)
    ]
    by_rule.problems += layout.problems
    by_rule.rows = layout.rows
    return by_rule


def _by_pattern(tree: Tree, pattern: PathPattern) -> Described:
    described = Described.blank(len(tree))
    others = [name for name in pattern.names if name not in _COLUMNS]
    for i, path in enumerate(tree.paths):
        found = pattern.match(without_suffix(path))
        if found is None or not found["speaker"].strip():
            described.problems.append(Problem(path, f"does not fit the speaker pattern {pattern.text}"))
            continue
        described.subject[i] = found["speaker"]
        described.utterance[i] = found.get("utterance", "")
        described.split[i] = found.get("split", "")
        described.language[i] = found.get("language", "")
        if others:
            described.extra[i] = {name: found[name] for name in others}
    if len(described.problems) == len(tree):
        raise InvalidArgument(
            f"none of the {len(tree)} recordings under {tree.root} fits the speaker pattern {pattern.text!r}, "
            f"which is compared with paths such as {without_suffix(tree.paths[0])!r}"
        )
    return described


def _choices(tree: Tree, columns: Sequence[str], why: str, tables: Sequence[str]) -> str:
    first = tree.paths[0]
    lines = [
        f"nothing names the speakers of the {len(tree)} recordings under {tree.root}, and a subject is never guessed.",
        "Name them in one of these ways (a person can be erased only by the name that you give here):",
    ]
    if why:
        lines.insert(1, f"The layout does not name them: {why}.")
    lines += _in_columns(columns)
    lines += tables
    examples = _pattern_examples([without_suffix(path) for path in tree.paths])
    lines += [f"  --speaker-pattern {text!r}: {result}" for text, result in examples]
    lines += [
        f"  --subject-per-file: each recording is a different person; {first} is {without_suffix(first)!r}",
        "  --one-subject NAME: all of them are one person",
        "  --manifest FILE: a NeMo manifest (JSON lines), or a CSV, TSV or Parquet, with a column 'speaker'",
        "In Python these are speaker_pattern=, subject_per_file=True, one_subject= and manifest=.",
    ]
    return "\n".join(lines)


def _in_columns(columns: Sequence[str]) -> list[str]:
    """The columns of a manifest, and those that might name the speaker."""
    if not columns:
        return []
    there = f"the manifest has no column 'speaker'; it has {shown_columns(columns)}"
    perhaps = perhaps_people(columns)
    if not perhaps:
        return [f"  --columns speaker=COLUMN: {there}"]
    lines = [f"  --columns speaker={shlex.quote(printable(perhaps[0]))}: perhaps this one; {there}"]
    return lines + [f"  --columns speaker={shlex.quote(printable(name))}: or this one" for name in perhaps[1:3]]


def _pattern_examples(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Patterns that match the first path, each with the speaker it would find there.

    The speaker can be any folder in the path, except one that all recordings share, such as `wav`.
    """
    path = paths[0]
    depth = path.count("/")
    if depth == 0:
        patterns = [f"{{speaker}}{mark}{{utterance}}" for mark in "_-" if mark in path]
    else:
        folders = [one.split("/")[:-1] for one in paths if one.count("/") == depth]
        levels = [level for level in range(depth) if len({one[level] for one in folders}) > 1] or range(depth)
        patterns = [f"{'*/' * level}{{speaker}}/{'*/' * (depth - 1 - level)}{{utterance}}" for level in levels]
    examples = []
    for text in patterns:
        found = PathPattern(text).match(path)
        if found is not None:
            examples.append((text, f"{path} is {found['speaker']!r}"))
    return examples or [("{speaker}/{utterance}", "for one folder per person")]


def near_duplicates(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of names that differ only in case, width, blanks or punctuation: perhaps one person in two spellings.

    They stay two people. The user is warned, because an erasure covers only the spelling that it is given.
    """
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        groups[_loosely(name)].add(name)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def _loosely(name: str) -> str:
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    # punctuation between digits counts, because 1-12 and 11-2 differ; elsewhere it does not
    text = re.sub(r"(?<=\d)[\W_]+(?=\d)", "-", text)
    return re.sub(r"(?<!\d)[\W_]+|[\W_]+(?!\d)", "", text) or text


def note_one_speaker(rows: pa.Table, pattern: str) -> None:
    """A pattern that takes the wrong folder for the speaker fits all the same: every recording has that folder."""
    speakers = rows.column("speaker").unique()
    if len(speakers) == 1 and (count := len(rows.column("file").unique())) >= _MANY:
        speaker = speakers[0].as_py()
        log_notice(
            f"all {count:,} recordings are of one speaker, {speaker!r}, by the pattern {pattern!r}. If several people "
            f"speak in them, use a pattern that names each, for a person can be erased only by name; if "
            f"not, --one-subject {shlex.quote(speaker)} says so without this warning"
        )
