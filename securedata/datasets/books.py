"""What LibriSpeech and LibriTTS share: parts such as dev-clean, of SPEAKER/CHAPTER/FILE."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from securedata.datasets.base import Order, matches, re_escape, within
from securedata.errors import InvalidArgument

PARTS = (
    "dev-clean",
    "dev-other",
    "test-clean",
    "test-other",
    "train-clean-100",
    "train-clean-360",
    "train-other-500",
)
_ANY = r"(^|/)(train|dev|test)-(clean|other)(-\d+)?/\d+/\d+/[^/]+$"
_STEM = r"(?P<stem>[^/]+)\.[^/.]+$"


def part_of(part: str, names: str) -> pc.Expression:
    """The rows of a part: in a folder of its name, or, if the folder was sealed by itself, with its name as split.

    Args:
        names: RE2 expression of the files' names without suffix.
    """
    named = matches(rf"(^|/){names}\.[^/.]+$")
    here = matches(rf"(^|/){re_escape(part)}/\d+/\d+/[^/]+$")
    return named & (here | (~matches(_ANY) & (pc.field("split") == part)))


def in_order(rows: pa.Table, folder: str) -> Order:
    """The numbers of the rows, by the names of their files; only of those in `folder`, if any are.

    Raises:
        InvalidArgument: utterances were given other names, so that they no longer tell speaker and chapter.
    """
    taken = within(rows, folder)
    there = rows.select(["path", "utterance"]).take(taken)
    stems = pc.struct_field(pc.extract_regex(there.column("path"), _STEM), "stem")
    if not pc.all(pc.equal(stems, there.column("utterance"))).as_py():
        raise InvalidArgument(
            "the utterances of this corpus are not named as its files are, and the names tell speaker and chapter: "
            "read it with EncryptedAudioDataset"
        )
    order: Order = taken.take(pc.sort_indices(stems)).to_numpy().astype("int64")
    return order


def stem_of(path: str) -> str:
    """The name of a file without its suffix."""
    return path.rpartition("/")[2].rpartition(".")[0]
