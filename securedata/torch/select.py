"""Which rows a dataset takes: the usual wishes as one pyarrow expression over the manifest's columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from securedata.errors import InvalidArgument

Duration = tuple[float | None, float | None]


def rows_where(
    filter: pc.Expression | None,
    speaker: str | Sequence[str] | None,
    split: str | Sequence[str] | None,
    duration: Duration | None,
) -> pc.Expression | None:
    """All wishes together; None if there are none.

    Raises:
        InvalidArgument
    """
    if filter is not None and not isinstance(filter, pc.Expression):
        raise InvalidArgument(
            f"filter= is a pyarrow expression, such as pyarrow.compute.field('frames') > 16000, not {type(filter)}"
        )
    wishes = [filter, _one_of("speaker", speaker), _one_of("split", split), *_within(duration)]
    combined: pc.Expression | None = None
    for wish in wishes:
        if wish is not None:
            combined = wish if combined is None else combined & wish
    return combined


def _one_of(column: str, wanted: str | Sequence[str] | None) -> pc.Expression | None:
    if wanted is None:
        return None
    values = [wanted] if isinstance(wanted, str) else list(wanted)
    if not all(isinstance(value, str) for value in values):
        raise InvalidArgument(f"{column}= is text or a list of texts")
    # NFC, as ingest stores names
    return pc.field(column).isin(pa.array([unicodedata.normalize("NFC", one) for one in values], pa.large_string()))


def _within(duration: Duration | None) -> list[pc.Expression]:
    if duration is None:
        return []
    try:
        shortest, longest = (None if end is None else float(end) for end in duration)
    except (TypeError, ValueError) as error:
        raise InvalidArgument("duration= is (shortest, longest) in seconds, either of which may be None") from error
    frames = pc.coalesce(pc.field("frames_in_segment"), pc.field("frames")).cast(pa.float64())
    seconds = frames / pc.field("sample_rate").cast(pa.float64())
    bounds = []
    if shortest is not None:
        bounds.append(seconds >= pc.scalar(shortest))
    if longest is not None:
        bounds.append(seconds <= pc.scalar(longest))
    return bounds
