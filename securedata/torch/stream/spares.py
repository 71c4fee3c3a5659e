"""Samples that can take the place of others: of several people, since one of them might be erased meanwhile."""

from __future__ import annotations

from collections import OrderedDict

from securedata.torch.stream.reading import Item

_PEOPLE = 4


class Spares:
    """The newest item of each of the last people who were delivered, with what was fetched for it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], Item] = OrderedDict()

    def keep(self, item: Item) -> None:
        """Keep an item that was delivered."""
        people = tuple(item.corpus.index.value("subjects", item.i))
        self._kept[people] = item
        self._kept.move_to_end(people)
        if len(self._kept) > _PEOPLE:
            self._kept.popitem(last=False)

    def take(self) -> Item | None:
        """The newest one that may still be delivered; None if there is none. Raises KeysExpired, KMSDenied, ..."""
        while self._kept:
            people = next(reversed(self._kept))
            item = self._kept[people]
            if item.corpus.refusal(item.i) is None:
                return item
            del self._kept[people]
        return None
