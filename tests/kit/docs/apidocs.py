"""Writes docs/api.md from the docstrings: `python -m tests.kit.docs.apidocs`; a test compares it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import securedata
from securedata.corpus.check.report import Finding, PruneReport
from securedata.corpus.state.lifecycle import Hold, Restriction
from securedata.datasets.base import DropIn
from securedata.filesystem import SecuredataFileSystem
from securedata.ingest.known_bad import NotTaken
from securedata.ingest.preview import Person
from securedata.ingest.report import Sources
from securedata.ingest.sources.walk.tree import Problem
from securedata.lifecycle.consent import ConsentSummary
from securedata.lifecycle.people.groups import Group
from securedata.lifecycle.people.listing import PersonCount
from securedata.lifecycle.people.reach import DerivedCorpus, KMSKey
from securedata.lifecycle.people.requests import OpenRequest
from securedata.lineage.record import Entry
from securedata.lineage.search import Model, Unread
from tests.kit.docs.tree import ROOT

PAGE = ROOT / "docs" / "api.md"

INTRODUCTION = """\
# Python reference

<!-- made from the docstrings by: python -m tests.kit.docs.apidocs -->

Every public name of `import securedata as sd`. Whatever is not here is private and can change in any release.
`help(sd)` is the short tour. The examples follow each other, beside a folder `./wavs` and a corpus `voice-a`.

```python
import securedata as sd
```
"""

FIRST = "Make, fill, check and leave a corpus"
PEOPLE = "Answer for the people in it"
ROOMS: dict[str, tuple[str, ...]] = {
    FIRST: (
        "create_corpus", "ingest", "verify", "export", "export_to_corpus", "manifest", "retain", "split", "pack",
        "CreateReport", "IngestReport", "IngestPreview", "VerifyReport", "ExportReport", "CorpusExportReport",
        "Manifest", "RetainReport", "SplitReport", "PackReport",
    ),
    PEOPLE: (
        "people", "person", "open_requests", "public_report",
        "PeopleReport", "PersonReport", "RequestsReport", "PublicReport",
    ),
    "Train": (
        "EncryptedAudioDataset", "Sample", "Batch", "pad_collate", "concat",
        "EncryptedFeatureDataset", "FeatureSample", "FeatureBatch", "save_lineage", "Lineage",
    ),
    "Stream": ("EncryptedAudioStream", "EncryptedStream", "ByteSample", "ResumableSampler", "merge_state"),
    "Known corpora": ("datasets",),
    "Read": ("load", "info", "AudioMetadata", "open_corpus", "Corpus", "cache", "CacheReport", "UnpinnedWarning"),
    "In other libraries": ("to_hf",),
    "Errors": ("errors",),
}  # fmt: skip
"""Every name of `__all__`, in the order of the page."""

CONSTRUCTED = ("EncryptedAudioDataset", "EncryptedAudioStream", "EncryptedStream", "ResumableSampler")
"""The classes whose constructors the page describes."""

PARTS: dict[str, dict[type[Any], str]] = {
    FIRST: {
        Sources: "IngestReport.sources",
        Problem: "IngestReport.problems",
        NotTaken: "IngestReport.new",
        Person: "IngestPreview.people",
        Finding: "VerifyReport.findings",
        PruneReport: "VerifyReport.pruned",
    },
    PEOPLE: {
        PersonCount: "PeopleReport.people",
        ConsentSummary: "PersonReport.consents",
        Hold: "PersonReport.holds",
        Restriction: "PersonReport.restrictions",
        DerivedCorpus: "PersonReport.derived",
        KMSKey: "PersonReport.kms",
        Model: "PersonReport.models",
        Unread: "PersonReport.unread",
        OpenRequest: "RequestsReport.requests",
        Group: "PublicReport.languages",
    },
    "Train": {Entry: "Lineage.entries"},
}
"""What reports hold, and where: they are read and never made by a caller."""

SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Example):")
ENTRY = re.compile(r"(?P<names>[\w*`. ,]+|\.\.\.): (?P<text>.*)")
NAMES = re.compile(r"(?:[A-Z]\w+|\.\.\.)(?:, (?:[A-Z]\w+|\.\.\.))*")


def page() -> str:
    """The whole page, as it must be today."""
    parts = [INTRODUCTION]
    for room, names in ROOMS.items():
        parts.append(f"## {room}\n")
        for name in names:
            thing = getattr(securedata, name)
            if name == "errors":
                parts.append(_tree(thing.__doc__))
            elif name == "datasets":
                parts.append(prose(thing.__doc__))
                for known in thing.__all__:
                    parts += _constructor(f"sd.datasets.{known}", getattr(thing, known))
                parts += _class("DropIn", DropIn, where="What all of them have. ")
            elif inspect.isclass(thing):
                parts += _class(f"sd.{name}", thing, made_by_callers=name in CONSTRUCTED)
            else:
                parts += _function(f"sd.{name}", thing, "###")
        for kind, where in PARTS.get(room, {}).items():
            parts += _class(kind.__name__, kind, where=f"Of `{where}`. ")
    parts.append("## As an fsspec filesystem\n")
    parts += _class("securedata.filesystem.SecuredataFileSystem", SecuredataFileSystem, made_by_callers=True)
    return "\n".join(parts)


def _tree(text: str) -> str:
    first, tree, rest = text.strip().split("\n\n", 2)
    return f"The module `sd.errors`. {first}\n\n```text\n{tree}\n```\n\n{rest}\n"


def _class(name: str, kind: type[Any], *, made_by_callers: bool = False, where: str = "") -> Iterator[str]:
    if made_by_callers:
        yield from _constructor(name, kind)
    else:
        yield f"### `{name}`\n\n{where}{prose(kind.__doc__)}"
    for method, member in _members(kind):
        if isinstance(member, property):
            yield f"#### `.{method}`\n\n{prose(member.__doc__)}"
        else:
            yield from _function(f".{method}", member, "####")


def _constructor(name: str, kind: type[Any]) -> Iterator[str]:
    yield f"### `{name}`\n\n{prose(kind.__doc__)}"
    yield _signature(name, kind.__init__)
    yield prose(kind.__init__.__doc__)


def _members(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that the package itself defines and describes, each once."""
    seen = set[str]()
    for one in kind.__mro__:
        if not one.__module__.startswith("securedata"):
            continue
        for name, member in vars(one).items():
            member = member.__func__ if isinstance(member, classmethod) else member
            described = (inspect.isfunction(member) or isinstance(member, property)) and member.__doc__
            if described and getattr(member, "__annotations__", {}).get("return") == "NoReturn":
                continue  # what a filesystem that is only read refuses
            if described and name not in seen and (not name.startswith("_") or name == "__getitem__"):
                yield name, member
            seen.add(name)


def _function(name: str, function: Callable[..., Any], heading: str) -> Iterator[str]:
    yield f"{heading} `{name}`\n"
    yield _signature(name, function)
    yield prose(function.__doc__)


def _signature(name: str, function: Callable[..., Any]) -> str:
    """Name, parameters and result as they are written, one parameter a line if they do not fit one."""
    found = inspect.signature(function)
    listed = list[str]()
    for one in found.parameters.values():
        if one.kind is one.KEYWORD_ONLY and not any(text.startswith("*") for text in listed):
            listed.append("*")
        if one.name not in ("self", "cls"):
            listed.append(_parameter(one))
    result = "" if found.return_annotation in (found.empty, "None") else f" -> {found.return_annotation}"
    line = f"{name}({', '.join(listed)}){result}"
    if len(line) > 100:
        line = "\n".join([f"{name}(", *(f"    {one}," for one in listed), f"){result}"])
    return f"```text\n{line}\n```\n"


def _parameter(one: inspect.Parameter) -> str:
    stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
    kind = "" if one.annotation is one.empty else f": {one.annotation}"
    default = re.sub(r"<.* at 0x.*>", "...", repr(one.default))
    return f"{stars}{one.name}{kind}" + ("" if one.default is one.empty else f" = {default}")


def prose(text: str | None) -> str:
    """A docstring as Markdown: its sections as lists, its example as a block that the docs' test runs."""
    section, lines = "", list[str]()
    for line in inspect.cleandoc(text or "").splitlines():
        if SECTION.fullmatch(line):
            section = line[:-1]
            lines += [f"**{section}**", "", *(["```python"] if section == "Example" else [])]
        elif section == "Example":
            lines.append(line[4:])
        elif section in ("Returns", "Yields", ""):
            lines.append(_plain(line.strip() if section else line))
        elif line.startswith("    ") and not line.startswith("     "):
            entry = ENTRY.fullmatch(line.strip())
            lines.append(
                f"- {_code(entry['names'])}: {_plain(entry['text'])}" if entry else f"- {_plain(line.strip())}"
            )
        else:
            lines.append(f"  {_plain(line.strip())}" if line.strip() else "")
    if section == "Example":
        lines.append("```")
    return "\n".join(lines) + "\n"


def _plain(line: str) -> str:
    """A line of prose whose stars are stars, except where backticks hold it."""
    return "`".join(part if at % 2 else part.replace("*", r"\*") for at, part in enumerate(line.split("`")))


def _entry(line: str) -> str:
    if entry := ENTRY.fullmatch(line):
        return f"{_code(entry['names'])}: {_plain(entry['text'])}"
    return _code(line) if NAMES.fullmatch(line) else _plain(line)


def _code(names: str) -> str:
    return ", ".join(one if one == "..." else f"`{one}`" for one in names.split(", "))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
