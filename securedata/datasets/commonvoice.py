"""Common Voice, as `torchaudio.datasets.COMMONVOICE` reads it."""

from __future__ import annotations

from typing import Any, Unpack

import pyarrow as pa
import pyarrow.compute as pc

from securedata.datasets.base import DropIn, Options, Order, Root, by_line, extra_of, matches, re_escape
from securedata.errors import InvalidArgument
from securedata.torch.sample import Metadata, Sample, Waveform

_OURS = ("tables", "clip")
_HEADER = (
    *("client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes", "age", "gender"),
    *("accents", "accent", "variant", "locale", "segment"),
)
"""The columns of all releases, in their order."""

Item = tuple[Waveform, int, dict[str, str]]


class COMMONVOICE(DropIn[Item]):
    """Common Voice; `ds[n]` is (waveform, sample_rate, columns of the table's row by name).

    A sentence is as the table has it: torchaudio's takes quotation marks at its beginning for those of a CSV.
    """

    def __init__(self, root: Root, tsv: str = "train.tsv", **options: Unpack[Options]) -> None:
        """Open one table of a sealed Common Voice.

        Args:
            root: the sealed corpus: a name from the config, `securedata://NAME`, a path or a URL.
            tsv: the table: train.tsv, dev.tsv, test.tsv, validated.tsv, invalidated.tsv or other.tsv.
            options: of `EncryptedAudioDataset`, such as kms=, pin=, role=, purpose=, sample_rate=.

        Raises:
            InvalidArgument: the corpus has no recording of the table.
            as `EncryptedAudioDataset`
        """
        if not tsv.endswith(".tsv"):
            raise InvalidArgument(f"tsv= is a table of the corpus, such as 'train.tsv', not {tsv!r}")
        split = tsv[: -len(".tsv")]
        self._line = rf'"tables":\{{[^}}]*"{re_escape(split)}":(?P<n>\d+)'
        sealed_before = ~matches('"tables":', "extra") & (pc.field("split") == split)
        super().__init__(
            root, matches(self._line.replace("?P<n>", ""), "extra") | sealed_before, f"rows of {tsv}", False, options
        )

    def _order(self, rows: pa.Table) -> Order:
        return by_line(rows, self._line)

    def _place(self, path: str) -> str:
        return f"clips/{path.rpartition('/')[2]}"

    def _walk(self, path: str, about: Metadata) -> list[str]:
        return list(self._item(None, about, extra_of(about))[2].values())

    def _item(self, first: Any, about: Sample | Metadata, extra: dict[str, Any]) -> Item:
        columns = {"client_id": about.speaker, "path": extra.get("clip", f"{about.utterance}.mp3")}
        columns |= {"sentence": about.transcript}
        columns |= {name: str(value) for name, value in extra.items() if name not in _OURS}
        order = {name: at for at, name in enumerate(_HEADER)}
        return first, about.sample_rate, dict(sorted(columns.items(), key=lambda one: order.get(one[0], len(order))))
