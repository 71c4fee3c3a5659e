"""A Croissant file: the public description of a corpus as JSON-LD, in the format 1.1 of MLCommons.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html says what it must have; the properties `rai:` are in
https://docs.mlcommons.org/croissant/docs/croissant-rai-spec.html. What is sealed cannot be downloaded and read, so
the file that it names is the page where somebody can ask, and the counts are records in the file itself.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from securedata.errors import InvalidArgument
from securedata.files import read_small, replace_file
from securedata.printable import plural, printable

if TYPE_CHECKING:
    from securedata.lifecycle.people.groups import Group
    from securedata.lifecycle.people.public import PublicReport

VERSION = "http://mlcommons.org/croissant/1.1"
RAI_VERSION = "http://mlcommons.org/croissant/RAI/1.0"
_FAMILY = "http://mlcommons.org/croissant/"
_LARGEST = 16 * 1024 * 1024
_LONGEST = 1000

_OF_CROISSANT = (
    *("annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract"),
    *("field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath"),
    *("key", "md5", "parentField", "readLines", "recordSet", "references", "regex", "sdVersion", "separator"),
    *("source", "subField", "transform", "unArchive", "value"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": _FAMILY,
    "rai": f"{_FAMILY}RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: f"cr:{name}" for name in _OF_CROISSANT},
}

_MIME = {"FLAC": "audio/flac", "MP3": "audio/mpeg", "OGG": "audio/ogg", "WAV": "audio/wav"}
_COUNTS = (
    ("value", "sc:Text", "What the recordings have in common."),
    ("recordings", "sc:Integer", "How many recordings."),
    ("seconds", "sc:Float", "Seconds of audio."),
    ("people", "sc:Integer", "How many people are heard in them."),
)
_RECORDING = (
    ("audio", "sc:AudioObject", "The recording, or the array of features that was computed from one."),
    ("transcript", "sc:Text", "What is said; empty if it is not known."),
    ("language", "sc:Text", "The language."),
    ("split", "sc:Text", "Of which split it is."),
)


@dataclass(frozen=True, slots=True)
class Description:
    """What the file says of the dataset that the corpus itself does not know."""

    title: str = field(repr=False)
    license: str
    url: str
    creator: str = field(repr=False)

    @classmethod
    def of(cls, title: str | None, *, license: str | None, url: str | None, creator: str | None) -> Description:
        """Check what a caller gives.

        Raises:
            InvalidArgument
        """
        given = {"title": title, "license": license, "url": url, "creator": creator}
        if missing := [name for name, value in given.items() if not value]:
            raise InvalidArgument(
                f"a Croissant file must have {', '.join(missing)}, which the corpus does not know: give "
                + ", ".join(f"{name}= (--{name})" for name in missing)
            )
        words = {name: _text(name, value) for name, value in given.items()}
        for name in ("license", "url"):
            parts = urlsplit(words[name])
            if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
                raise InvalidArgument(f"{name}= (--{name}) must be a public URL, such as https://example.com/voice")
        return cls(**words)

    @staticmethod
    def check_unused(**given: str | None) -> None:
        """Raise InvalidArgument if something is given that only a Croissant file needs."""
        if names := [f"{name}= (--{name})" for name, value in given.items() if value is not None]:
            raise InvalidArgument(f"only a Croissant file needs {', '.join(names)}: give croissant= (--croissant FILE)")

    @staticmethod
    def check_file(path: Path) -> None:
        """Refuse to replace another kind of file.

        Raises:
            InvalidArgument
        """
        try:
            found = json.loads(read_small(path, _LARGEST))
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError):
            found = None
        known = found.get("conformsTo") if isinstance(found, dict) else None
        listed = known if isinstance(known, list) else [known]
        if not any(isinstance(one, str) and one.startswith(_FAMILY) for one in listed):
            raise InvalidArgument("there is another file under the name of the Croissant file; it was not replaced")

    def check_nobody(self, names: Collection[str]) -> None:
        """Refuse a title or creator that is the name of a person of the corpus.

        Raises:
            InvalidArgument
        """
        folded = {name.casefold() for name in names}
        for name, value in (("title", self.title), ("creator", self.creator)):
            if value.casefold() in folded:
                raise InvalidArgument(
                    f"the {name} is the name of a person of the corpus, and the file must name nobody: give another "
                    f"one with {name}= (--{name})"
                )


def document(report: PublicReport, words: Description) -> dict[str, Any]:
    """The file's content."""
    sets = (
        ("languages", "Recordings by language.", report.languages),
        ("splits", "Recordings by split.", report.splits),
        ("formats", "Recordings by format.", report.formats),
        ("consent", "Recordings by the state of the consent that is recorded with them.", report.consent),
        ("purposes", "Recordings by the purposes that consent was given to; one can have several.", report.purposes),
    )
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [VERSION, RAI_VERSION],
        "name": words.title,
        "description": _description(report),
        "license": words.license,
        "url": words.url,
        "creator": {"@type": "sc:Organization", "name": words.creator},
        "datePublished": report.day,
        "version": f"{report.generation}.0.0",
        "isLiveDataset": True,
        **_unless_empty("inLanguage", [one.value for one in report.languages if one.value[:1].isalpha()]),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "corpus",
                "name": "corpus",
                "description": "The sealed corpus. It is not public: the page says how to ask for access.",
                "contentUrl": words.url,
                "encodingFormat": "application/octet-stream",
            },
            {
                "@type": "cr:FileSet",
                "@id": "recordings-files",
                "name": "recordings-files",
                "description": "The recordings in it.",
                "containedIn": {"@id": "corpus"},
                "encodingFormat": _mime(report.formats),
                "includes": "**",
            },
        ],
        "recordSet": [
            _recordings(),
            *(_records(name, text, groups) for name, text, groups in sets if groups),
        ],
        "rai:personalSensitiveInformation": [
            f"Voices of {plural(report.people, 'person') if report.people == 1 else f'{report.people:,} people'}, "
            "which are biometric data; language, where it is recorded."
        ],
        "rai:dataReleaseMaintenancePlan": " ".join(_maintenance(report)),
        **_unless_empty("rai:dataUseCases", [f"Consented purpose: {one.value}" for one in report.purposes]),
    }


def write_document(path: Path, content: dict[str, Any]) -> None:
    """Write the file whole, or not at all. `Description.check_file` has looked at what is there.

    Raises:
        OSError
    """
    replace_file(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def _description(report: PublicReport) -> str:
    several = "person" if report.people == 1 else "people"
    return (
        f"{plural(report.rows, 'recording')} of {report.people:,} {several}, {report.seconds / 3600:,.1f} hours, kept "
        "encrypted with a record of each person's consent. People can be erased from it, so the counts change."
    )


def _maintenance(report: PublicReport) -> Iterable[str]:
    kept = ", ".join(f"{name} {span}" for name, span in report.retention.items())
    yield f"Retention: {kept}." if kept else "Retention: recordings are kept until somebody erases them."
    yield f"Erasures done: {report.erasures:,}; people erased by name: {report.erased:,}."
    if report.held or report.restricted:
        yield f"People whose recordings a legal hold keeps: {report.held:,}; not used meanwhile: {report.restricted:,}."


def _recordings() -> dict[str, Any]:
    source = {"fileSet": {"@id": "recordings-files"}, "extract": {"fileProperty": "content"}}
    fields = [_field("recordings", *one) for one in _RECORDING]
    fields[0]["source"] = source
    return {
        "@type": "cr:RecordSet",
        "@id": "recordings",
        "name": "recordings",
        "description": "One record for each recording, for those who have access.",
        "field": fields,
    }


def _records(name: str, text: str, groups: Iterable[Group]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": text,
        "field": [_field(name, *one) for one in _COUNTS],
        "data": [
            {
                f"{name}/value": one.value,
                f"{name}/recordings": one.rows,
                f"{name}/seconds": round(one.seconds, 3),
                f"{name}/people": one.people,
            }
            for one in groups
        ],
    }


def _field(of: str, name: str, kind: str, text: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": f"{of}/{name}", "name": name, "description": text, "dataType": kind}


def _mime(formats: Iterable[Group]) -> list[str]:
    return list(dict.fromkeys(_MIME.get(one.value, "application/octet-stream") for one in formats)) or [
        "application/octet-stream"
    ]


def _unless_empty(name: str, values: list[str]) -> dict[str, list[str]]:
    return {name: values} if values else {}


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or printable(value) != value or len(value) > _LONGEST:
        raise InvalidArgument(f"{name}= (--{name}) must be one line of text")
    return value
