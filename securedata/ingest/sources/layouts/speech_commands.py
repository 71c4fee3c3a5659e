"""Speech Commands: WORD/HASH_nohash_N, where the hash is the speaker, with a validation list and a testing list."""

from __future__ import annotations

import os
import re

from securedata.ingest.sources.layouts.base import LOST, Described, Layout, Text, context_of, folder_of, meant
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.media.audio.suffixes import without_suffix

_BACKGROUND_NOISE = "_background_noise_"
_LISTS = frozenset(("validation_list.txt", "testing_list.txt"))
# .../label/HASH_nohash_N
_NAMED = re.compile(r"(?:.*/)?(?P<label>[^/]+)/(?P<speaker>[0-9a-f]{8})_nohash_\d+")
_OTHER_LIST = (
    "names a recording that the other list already names",
    "name recordings that the other list already names",
)


def _count(tree: Tree) -> int:
    context = context_of(tree)
    return sum(1 for path in tree.paths if _NAMED.fullmatch(context + without_suffix(path)))


def _describe(tree: Tree, described: Described) -> None:
    """Files on neither list have the split 'training', as in torchaudio, if there are lists and all can be read.

    Those on a list keep the number of their line, as `line` in extra: torchaudio reads them in this order.

    The long recordings in _background_noise_ have no speaker. The folder's name is used as their subject, so that they
    can be left out or erased by it.
    """
    splits: dict[str, str] = {}
    lines: dict[str, int] = {}
    listed = set[str]()  # folders that have a list
    unread = set[str]()  # folders with an unreadable list, which may name any of their files
    recordings = set(tree.paths)
    for sidecar in tree.companion_names:
        name = os.path.basename(sidecar).lower()
        if name not in _LISTS:
            continue
        listed.add(folder_of(sidecar))
        text = Text(tree, sidecar, described)
        for number, line in text.lines():
            path = meant(tree, sidecar, line, recordings)
            split = "validation" if name.startswith("validation") else "testing"
            if path is None:
                if meant(tree, sidecar, line, tree.exclusions.names) is None:
                    text.note(LOST, number, line)
            elif splits.setdefault(path, split) != split:
                text.note(_OTHER_LIST, number, line)
            else:
                lines.setdefault(path, number)
        text.report()
        if text.unread:
            unread.add(folder_of(sidecar))
    listed -= unread
    context = context_of(tree)
    for i, path in enumerate(tree.paths):
        full = context + without_suffix(path)
        corpus = path[: path.rfind("/", 0, max(0, path.rfind("/"))) + 1]
        found = _NAMED.fullmatch(full)
        if found is not None:
            described.subject[i] = found["speaker"]
            described.transcript[i] = found["label"]
            described.language[i] = "en"
            described.split[i] = splits.get(path, "training" if corpus in listed else "")
            described.extra[i] = {"line": str(lines[path])} if path in lines else None
        elif full.split("/")[-2] == _BACKGROUND_NOISE:
            described.subject[i] = _BACKGROUND_NOISE
            described.split[i] = splits.get(path, "")
        else:
            described.problems.append(Problem(path, "not named as in Speech Commands, LABEL/HASH_nohash_N"))


SPEECH_COMMANDS = Layout("speechcommands", _count, _describe)
