"""Corpora of recordings, sealed by the real writer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from securedata.corpus.config import Reference, resolve
from securedata.corpus.create import create_corpus
from securedata.corpus.home import state_dir
from securedata.corpus.opening import open_corpus
from securedata.corpus.schema import rows_table
from securedata.corpus.writer import Writer
from securedata.media.audio.probe import probe
from tests.kit.sources.recordings import Clip, some_clips


class Root(str):
    """The root of a corpus, a string like any other, and what else a test may want to know of it."""

    reference: Reference
    clips: list[Clip]

    @property
    def kms(self) -> str:
        """Its KMS URI, of a local key file."""
        return self.reference.kms[0]

    @property
    def key_file(self) -> Path:
        return Path(self.kms.removeprefix("local://"))

    @property
    def pin(self) -> str:
        return str(self.reference.pins[0])

    @property
    def name(self) -> str:
        assert self.reference.name
        return self.reference.name

    @property
    def state_file(self) -> Path:
        """What this machine remembers of it."""
        return state_dir() / "seen" / f"{self.reference.pins[0].corpus_id.hex()}.json"


def make_corpus(
    folder: Path, clips: Iterable[Clip] | None = None, name: str = "voice-a", kms: str | None = None
) -> Root:
    """Make FOLDER/NAME with these recordings (None: `some_clips`) and its config entry.

    Its key file is FOLDER/keys/NAME.kek, unless `kms` names another KMS key.
    """
    uri = kms or f"local://{folder}/keys/{name}.kek"
    return filled(create_corpus(str(folder / name), name, kms=[uri]).reference, clips)


def filled(reference: Reference, clips: Iterable[Clip] | None = None) -> Root:
    """The root of a new corpus, in which these recordings are now (None: `some_clips`)."""
    root = Root(reference.root)
    root.reference, root.clips = reference, []
    add_clips(root, some_clips() if clips is None else clips)
    return root


def flip(path: Path, part: float = 1.0) -> None:
    """Flip a bit of a file, `part` of the way through it (by default, of its last byte)."""
    data = bytearray(path.read_bytes())
    data[min(int(len(data) * part), len(data) - 1)] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def object_files(root: Root, path: str) -> list[Path]:
    """Where the object of a recording is, if it is there."""
    with open_corpus(root) as corpus:
        name = corpus.index.location(corpus.find(path)).object_id.hex()
    return list(Path(root, "objects").rglob(name))


def flip_object(root: Root, path: str, part: float = 0.6) -> None:
    """Flip a bit of the object of a recording, `part` of the way through it."""
    [found] = object_files(root, path)
    flip(found, part)


def add_clips(root: str, clips: Iterable[Clip], replace: bool = False) -> None:
    """Commit further recordings, all in one commit; with `replace` in place of those with the same paths."""
    listed = list(clips)
    reference = root.reference if isinstance(root, Root) else resolve(root)
    if listed:
        writer = Writer(reference)
        outcome = writer.commit(add=put_clips(writer, listed), replace=replace)
        assert not outcome.conflicts
    if isinstance(root, Root):
        root.clips += listed


def remove_paths(root: Root, paths: Sequence[str]) -> None:
    """Commit a corpus without these rows."""
    Writer(root.reference).commit(remove=paths)


def put_clips(writer: Writer, clips: Sequence[Clip]) -> pa.Table:
    """Put the objects of these recordings; returns their rows, which are not committed yet."""
    rows = []
    for one in clips:
        put = writer.put_object([one.data])
        info: dict[str, Any] = {}
        if not {"format", "frames"} <= set(one.columns):
            info = probe(one.data)._asdict()
        for segment in one.segments or [None]:
            stem, _, suffix = one.path.rpartition(".")
            row = {
                "path": f"{stem}@{segment[0]}-{sum(segment)}.{suffix}" if segment else one.path,
                **put.columns(),
                **info,
                "subjects": [one.speaker],
                "speaker": one.speaker,
                "utterance": stem.rpartition("/")[2],
                "source_mtime_ns": 1_700_000_000_000_000_000,
                **one.columns,
            }
            if segment:
                row["start"], row["frames_in_segment"] = segment
            rows.append(row)
    return rows_table(rows)
