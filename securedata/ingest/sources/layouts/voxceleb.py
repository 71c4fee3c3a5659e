"""VoxCeleb 1 and 2: idNNNNN/VIDEO/NNNNN.wav or .m4a under dev and test; vox1_meta.csv and vox2_meta.csv add details.

iden_split.txt, which is published beside them, gives `identification` in extra: train, dev or test.
There are no transcripts. Utterances are named as in the corpus's trial lists: idNNNNN/VIDEO/NNNNN.
"""

from __future__ import annotations

import posixpath
import re

from securedata.ingest.sources.layouts.base import Described, Layout, Text, context_of
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.media.audio.suffixes import without_suffix

# .../id10270/5r0dWxy17C8/00001; a YouTube video ID has eleven characters
_NAMED = re.compile(r"(?P<above>(?:.*/)?)(?P<speaker>id\d{5})/(?P<video>[\w-]{11})/(?P<n>\d{5})", re.ASCII)
_SPLIT = re.compile(r"(?:vox[12]_)?(dev|test)(?:_(?:wav|aac|mp4|txt))?")  # vox1_dev_wav, dev
# a lower-case letter, and a capital after the first character: 199 of 200 video IDs have both
_RANDOM = re.compile(r"(?=.*[a-z]).+[A-Z]")
_META = ("vox1_meta.csv", "vox2_meta.csv")
_IDENTIFICATION = "iden_split.txt"
_SUBSETS = {"1": "train", "2": "dev", "3": "test"}
_COLUMNS = {"gender": "gender", "nationality": "nationality", "vggface1 id": "name", "vggface2 id": "vggface2_id"}


def _count(tree: Tree) -> int:
    """All recordings named like this, if most video IDs look random: 'session_001' has eleven characters too."""
    context = context_of(tree)
    found = (_NAMED.fullmatch(context + without_suffix(path)) for path in tree.paths if "id" in context + path)
    videos = [one["video"] for one in found if one]
    random = sum(1 for video in videos if _RANDOM.match(video))
    return len(videos) if random * 2 >= len(videos) else 0


def _describe(tree: Tree, described: Described) -> None:
    meta, sets = _people(tree, described)
    identification = _identification(tree, described)
    context = context_of(tree)
    for i, path in enumerate(tree.paths):
        found = _NAMED.fullmatch(context + without_suffix(path))
        if found is None:
            described.problems.append(Problem(path, "not named as in VoxCeleb, idNNNNN/VIDEO/NNNNN"))
            continue
        speaker = found["speaker"]
        described.subject[i] = speaker
        described.utterance[i] = f"{speaker}/{found['video']}/{found['n']}"
        described.split[i] = _split(found["above"]) or sets.get(speaker, "")
        subset = identification.get(described.utterance[i])
        named = {"identification": subset} if subset else {}
        described.extra[i] = {"video": found["video"], **meta.get(speaker, {}), **named}


def _split(above: str) -> str:
    """dev or test, from the nearest folder above that names one."""
    for folder in reversed(above.split("/")):
        if found := _SPLIT.fullmatch(folder):
            return found[1]
    return ""


def _people(tree: Tree, described: Described) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """The metadata and the set of each person; vox1 separates columns by tabs, vox2 by commas."""
    people: dict[str, dict[str, str]] = {}
    sets: dict[str, str] = {}
    for name in tree.companion_names:
        if posixpath.basename(name) not in _META:
            continue
        header: list[str] = []
        for _, line in Text(tree, name, described).lines():
            fields = [field.strip() for field in line.split("\t" if "\t" in line else ",")]
            if not header:
                header = [field.lower() for field in fields]
                continue
            row = dict(zip(header, fields, strict=False))
            people[fields[0]] = {ours: row[theirs] for theirs, ours in _COLUMNS.items() if row.get(theirs)}
            sets[fields[0]] = row.get("set", "")
    return people, sets


def _identification(tree: Tree, described: Described) -> dict[str, str]:
    """The subset of each utterance for telling who speaks, by iden_split.txt: lines such as '1 id10001/VIDEO/N.wav'."""
    subsets: dict[str, str] = {}
    for name in tree.companion_names:
        if posixpath.basename(name) == _IDENTIFICATION:
            for _, line in Text(tree, name, described).lines():
                number, _, path = line.partition(" ")
                subsets[without_suffix(path.strip())] = _SUBSETS.get(number, "")
    return subsets


VOXCELEB = Layout("voxceleb", _count, _describe)
