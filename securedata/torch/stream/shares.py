"""How many rows an epoch takes of each corpus."""

from __future__ import annotations

import math
from collections.abc import Sequence

from securedata.errors import InvalidArgument


def as_weights(weights: Sequence[float] | None, corpora: int) -> tuple[float, ...] | None:
    """Weights that sum to 1; None: every row once.

    Raises:
        InvalidArgument: not one for each corpus, or they sum to nothing.
    """
    if weights is None:
        return None
    try:
        found = [float(one) for one in weights]
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgument("weights= are numbers, one for each corpus") from None
    if len(found) != corpora:
        raise InvalidArgument(f"weights= has {len(found)} numbers for {corpora} corpora: pass one for each, in order")
    if not all(math.isfinite(one) and one >= 0 for one in found):
        raise InvalidArgument("weights= must be finite and not negative")
    total = math.fsum(found)
    if not 0 < total < math.inf:
        raise InvalidArgument("weights= sum to nothing: at least one corpus must have a weight above 0")
    return tuple(one / total for one in found)


def shares(rows: Sequence[int], weights: Sequence[float] | None) -> list[int]:
    """How many rows an epoch takes of each corpus: all, or by weight as many in all as there are.

    Raises:
        InvalidArgument: a corpus with a weight has no row.
    """
    if weights is None:
        return list(rows)
    total = sum(rows)
    if any(weight and not many for weight, many in zip(weights, rows, strict=True)) and total:
        raise InvalidArgument("a corpus with a weight above 0 has no row that the filters leave: weight it 0")
    exact = [weight * total for weight in weights]
    taken = [int(one) for one in exact]
    most = sorted(range(len(rows)), key=lambda which: (taken[which] - exact[which], which))
    for which in most[: total - sum(taken)]:
        taken[which] += 1
    return taken
