"""Ranges of a pack that lie beside each other become one request, and each gets its own bytes."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from securedata.corpus.objects.neighbours import GAP, MOST, joined
from securedata.storage.base import Wanted

RANGES = st.lists(
    st.tuples(st.sampled_from(["packs/a", "packs/b", "objects/c"]), st.integers(0, 2**24), st.integers(1, 2**18)),
    max_size=30,
)


@given(RANGES)
def test_each_range_is_in_one_request(ranges: list[tuple[str, int, int]]) -> None:
    wanted = [Wanted(key, offset, length, length) for key, offset, length in ranges]
    fetched, members = joined(wanted, [one.key.startswith("packs/") for one in wanted])
    assert sorted(at for each in members for at, _, _ in each) == list(range(len(wanted)))
    for request, each in zip(fetched, members, strict=True):
        for at, begin, length in each:
            one = wanted[at]
            assert (one.key, one.offset, one.length) == (request.key, request.offset + begin, length)
            assert begin + length <= request.length
        if len(each) > 1:
            assert request.length <= MOST
            assert request.key.startswith("packs/")
        else:
            assert request == wanted[each[0][0]]


def test_neighbours_are_joined_up_to_the_border() -> None:
    def requests(*ranges: tuple[int, int]) -> int:
        return len(joined([Wanted("p", *one) for one in ranges], [True] * len(ranges))[0])

    assert requests((0, 10), (10, 10), (20, 5)) == 1
    assert requests((20, 5), (0, 10), (10, 10)) == 1
    assert requests((0, 10), (10 + GAP, 10)) == 1
    assert requests((0, 10), (11 + GAP, 10)) == 2
    assert requests((0, MOST - 10), (MOST - 10, 10)) == 1
    assert requests((0, MOST - 10), (MOST - 10, 11)) == 2
    assert len(joined([Wanted("a", 0, 10), Wanted("b", 10, 10)], [True, True])[0]) == 2
    assert len(joined([Wanted("a", 0, 10), Wanted("a", 10, 10)], [False, False])[0]) == 2
