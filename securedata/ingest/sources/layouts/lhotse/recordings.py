"""The recordings of Lhotse manifests: their files, by channel."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from securedata.errors import InvalidArgument
from securedata.ingest.sources.layouts.base import meant
from securedata.ingest.sources.origin import LocalOrigin
from securedata.ingest.sources.walk.names import printable
from securedata.ingest.sources.walk.tree import Tree

_CHANGED = "its recording has transforms, so its times do not fit the file: use the manifest from before the transforms"


@dataclass(frozen=True, slots=True, repr=False)  # holds names
class Recording:
    """One recording of a manifest.

    Attributes:
        sources: index into the tree, and channels, of each file that exists.
        lost: files that do not exist, as the manifest names them.
        duration: seconds in the manifest, or None.
        fault: why none of its rows can be taken; '' if nothing is wrong.
        manifest, line: its place.
        split: the split of its manifest.
    """

    id: str
    sources: tuple[tuple[int, tuple[int, ...]], ...]
    lost: tuple[str, ...]
    duration: float | None
    fault: str
    manifest: str
    line: int
    split: str

    @property
    def files(self) -> list[int]:
        return [i for i, _ in self.sources]

    def of_channels(self, channel: Any) -> list[int]:
        """The files with any of these channels: a number, a list of them, or None for all."""
        if channel is None:
            return self.files
        wanted = channel if isinstance(channel, list) else [channel]
        return [i for i, channels in self.sources if not channels or any(one in channels for one in wanted)]


def recording_of(
    values: Mapping[str, Any], index: Callable[[str], int], manifest: str, line: int, split: str
) -> Recording:
    """Read a recording from a line of a manifest; `index` is from `located_in`.

    Raises:
        InvalidArgument: it has no sources, or one that is not a file.
    """
    where = f"{manifest}, line {line}"
    sources = values.get("sources")
    if not isinstance(sources, list) or not sources or not all(isinstance(one, dict) for one in sources):
        raise InvalidArgument(f"{where}: sources is not a list of JSON objects")
    found: list[tuple[int, tuple[int, ...]]] = []
    lost: list[str] = []
    for source in sources:
        if source.get("type") not in ("file", "url"):  # a URL below SRC, as `securedata manifest` writes it
            raise InvalidArgument(
                f"{where}: a source has the type {printable(str(source.get('type')))!r}, and only 'file' and 'url' are "
                "supported: save the recordings as files (CutSet.save_audios in Lhotse), or remove the line"
            )
        name, channels = source.get("source"), source.get("channels")
        if not isinstance(name, str) or not name:
            raise InvalidArgument(f"{where}: the source names no file")
        if (i := index(name)) < 0:
            lost.append(name)
        else:
            found.append((i, tuple(channels) if isinstance(channels, list) else ()))
    duration = values.get("duration")
    known = duration if isinstance(duration, int | float) and not isinstance(duration, bool) else None
    fault = _CHANGED if values.get("transforms") else ""
    return Recording(str(values.get("id")), tuple(found), tuple(lost), known, fault, manifest, line, split)


def located_in(tree: Tree, paths: Collection[str] | None = None) -> Callable[[str], int]:
    """A function from the name in a source to the index of its recording, or of one of `paths`; -1 if there is none."""
    index = {path: i for i, path in enumerate(tree.paths if paths is None else paths)}
    real = os.path.realpath(tree.root) if isinstance(tree.origin, LocalOrigin) else tree.root
    prefix = real.rstrip("/") + "/"

    def find(name: str) -> int:
        path = meant(tree, "", name, index)
        if path is None and name.startswith(prefix):
            path = meant(tree, "", name[len(prefix) :], index)
        return -1 if path is None else index[path]

    return find


@dataclass(slots=True, repr=False)  # holds names
class Book:
    """Recordings by id; the same id in another split may be another recording."""

    _by_pair: dict[tuple[str, str], Recording] = field(default_factory=dict)
    _by_id: dict[str, list[Recording]] = field(default_factory=dict)

    def enter(self, pair: str, recording: Recording) -> None:
        """Add a recording. Raises InvalidArgument if its manifest has a different one with this id."""
        first = self._by_pair.setdefault((pair, recording.id), recording)
        if (first.sources, first.lost) != (recording.sources, recording.lost):
            raise InvalidArgument(
                f"{recording.manifest}, line {recording.line}: line {first.line} of {first.manifest} has a "
                "different recording with this id"
            )
        if first is recording:
            self._by_id.setdefault(recording.id, []).append(recording)

    def all(self) -> Iterator[Recording]:
        return iter(self._by_pair.values())

    def find(self, pair: str, id: str, manifest: str, line: int) -> Recording | None:
        """The recording of a supervision: from the manifest that pairs with its own, else from any.

        Raises:
            InvalidArgument: several others have different recordings with this id.
        """
        if found := self._by_pair.get((pair, id)):
            return found
        others = self._by_id.get(id, [])
        if len({(one.sources, one.lost) for one in others}) > 1:
            raise InvalidArgument(
                f"{manifest}, line {line}: {others[0].manifest} and {others[1].manifest} have different recordings "
                "with its recording_id: name the manifests alike, such as x_recordings_train.jsonl and "
                "x_supervisions_train.jsonl"
            )
        return others[0] if others else None
