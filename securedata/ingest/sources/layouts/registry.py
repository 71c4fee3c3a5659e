"""All layouts: recognise the one that a tree has, and apply it."""

from __future__ import annotations

from securedata.errors import InvalidArgument
from securedata.ingest.sources.layouts.base import Described, Layout
from securedata.ingest.sources.layouts.common_voice import COMMON_VOICE
from securedata.ingest.sources.layouts.kaldi import KALDI, first_path
from securedata.ingest.sources.layouts.lhotse.layout import LHOTSE, first_source
from securedata.ingest.sources.layouts.librispeech import LIBRISPEECH
from securedata.ingest.sources.layouts.libritts import LIBRITTS
from securedata.ingest.sources.layouts.ljspeech import LJSPEECH
from securedata.ingest.sources.layouts.names import CHOICES
from securedata.ingest.sources.layouts.speech_commands import SPEECH_COMMANDS
from securedata.ingest.sources.layouts.stm import STM
from securedata.ingest.sources.layouts.text_beside import TEXT_BESIDE
from securedata.ingest.sources.layouts.timit import TIMIT
from securedata.ingest.sources.layouts.vctk import VCTK
from securedata.ingest.sources.layouts.voxceleb import VOXCELEB
from securedata.ingest.sources.walk.names import printable
from securedata.ingest.sources.walk.tree import Tree

# in a tie the first wins, so layouts that recognise more names come first
ALL: tuple[Layout, ...] = (
    LIBRISPEECH,
    LIBRITTS,
    VCTK,
    VOXCELEB,
    COMMON_VOICE,
    LJSPEECH,
    TIMIT,
    SPEECH_COMMANDS,
    LHOTSE,
    STM,
    KALDI,
    TEXT_BESIDE,
)
_BY_NAME = {layout.name: layout for layout in ALL}


def recognise(tree: Tree) -> Layout | None:
    """The layout that names the most recordings, and at least half of them; None if there is none.

    A layout that knows only words is used only if none names people.
    """
    for with_people in (True, False):
        counts = [(layout.count(tree), layout) for layout in ALL if (layout.names_people is not False) is with_people]
        best, layout = max(counts, key=lambda one: one[0])
        if best and best * 2 >= len(tree):
            return layout
    return None


def named(name: str) -> Layout:
    """The layout of this name; InvalidArgument if there is none."""
    layout = _BY_NAME.get(name)  # not audiofolder, which is read as a manifest
    if layout is None:
        raise InvalidArgument(f"unknown layout {name!r}: choose one of {', '.join(CHOICES)}")
    return layout


def describe(layout: Layout, tree: Tree, *, guessed: bool) -> Described:
    """What a layout says about each recording.

    Args:
        guessed: True if nobody asked for this layout; one that knows only words may then find none.

    Raises:
        InvalidArgument: none of the files follows it.
    """
    described = Described.blank(len(tree))
    described.names_people = layout.names_people is not False
    layout.describe(tree, described)
    if described.rows is not None:
        found = any(i >= 0 for i in described.rows.located)
    else:
        found = any(described.subject if described.names_people else described.transcript)
    if not found and not (guessed and layout.names_people is False):
        raise InvalidArgument(
            f"none of the {len(tree)} recordings under {tree.root} follows the layout {layout.name}"
            + "".join(f"; {problem.path}: {problem.reason}" for problem in described.problems[:1])
        )
    return described


def elsewhere(tree: Tree) -> str:
    """What a table says about recordings that are not under SRC, and what to do, for an error; '' if none does."""
    found = first_path(tree) or first_source(tree)
    if found is None or found[1].startswith(f"{tree.root}/"):
        return ""
    table, path = found
    return (
        f"{printable(table)} names recordings that are not under it, such as {printable(path)!r}: give as SRC a folder "
        "above both"
    )
