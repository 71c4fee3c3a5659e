"""A storage that asks before and after every call whether it may happen: for faults, races and schedulers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from securedata.errors import AccessDenied, NotFound, SecuredataError, StorageUnreachable
from securedata.storage.base import Buffer, Entry, Purged, Storage
from securedata.storage.legal_holds import LegalHolds

Hook = Callable[[str, str], None]
"""Takes the name of the method and its key; may raise, wait, or act as another process would."""


def _nothing(call: str, key: str) -> None:
    return


class Hooked(Storage):
    """A real storage behind two hooks. `calls` has every call in order."""

    def __init__(self, inner: Storage, before: Hook = _nothing, after: Hook = _nothing) -> None:
        self.inner = inner
        self.url = inner.url
        self.before = before
        self.after = after
        self.calls: list[tuple[str, str]] = []

    @property
    def lost(self) -> int:  # type: ignore[override]  # of the storage behind it
        return self.inner.lost

    def get(self, key: str, limit: int | None = None) -> Buffer:
        self._before("get", key)
        result = self.inner.get(key, limit)
        self.after("get", key)
        return result

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        self._before("get_ranges", key)
        result = self.inner.get_ranges(key, ranges)
        self.after("get_ranges", key)
        return result

    def get_versioned(self, key: str, limit: int | None = None) -> tuple[Buffer, str]:
        self._before("get_versioned", key)
        result = self.inner.get_versioned(key, limit)
        self.after("get_versioned", key)
        return result

    def put_new(self, key: str, pieces: Iterable[Buffer]) -> float:
        self._before("put_new", key)
        result = self.inner.put_new(key, pieces)
        self.after("put_new", key)
        return result

    def replace(self, key: str, data: Buffer, version: str | None) -> None:
        self._before("replace", key)
        self.inner.replace(key, data, version)
        self.after("replace", key)

    def make_durable(self) -> None:
        self._before("make_durable", "")
        self.inner.make_durable()
        self.after("make_durable", "")

    def list(self, prefix: str = "") -> Iterator[Entry]:
        self._before("list", prefix)
        found = [*self.inner.list(prefix)]
        self.after("list", prefix)
        yield from found

    def delete(self, key: str) -> None:
        self._before("delete", key)
        self.inner.delete(key)
        self.after("delete", key)

    def deleted_keys(self, prefix: str = "", strict: bool = False) -> Iterator[str]:
        self._before("deleted_keys", prefix)
        found = [*self.inner.deleted_keys(prefix, strict)]
        self.after("deleted_keys", prefix)
        yield from found

    def check_deletable(self) -> None:
        self._before("check_deletable", "")
        self.inner.check_deletable()
        self.after("check_deletable", "")

    def purge(self, keys: Iterable[str]) -> Iterator[tuple[str, Purged | SecuredataError]]:
        for key in keys:  # each by itself: a process may be killed between any two
            self._before("purge", key)
            found = [*self.inner.purge([key])]
            self.after("purge", key)
            yield from found

    def purge_older(self, key: str, is_older: Callable[[Buffer], bool], limit: int) -> int:
        self._before("purge_older", key)
        count = self.inner.purge_older(key, is_older, limit)
        self.after("purge_older", key)
        return count

    def legal_holds(self) -> LegalHolds:
        return HookedHolds(self.inner.legal_holds(), self._before, lambda call, key: self.after(call, key))

    def now(self) -> float:
        self._before("now", "")
        result = self.inner.now()
        self.after("now", "")
        return result

    def check_writable(self, single_writer: bool = False) -> None:
        self.inner.check_writable(single_writer)

    def _before(self, call: str, key: str) -> None:
        self.calls.append((call, key))
        self.before(call, key)


class HookedHolds(LegalHolds):
    """Legal holds behind the hooks of their storage, key by key: a process may be killed between any two."""

    def __init__(self, inner: LegalHolds, before: Hook, after: Hook) -> None:
        self._inner, self._before, self._after = inner, before, after

    def enabled(self) -> bool:
        return self._inner.enabled()

    def check(self) -> None:
        self._before("check", "")
        self._inner.check()

    def current(self, key: str, limit: int) -> tuple[str, Buffer]:
        self._before("current", key)
        return self._inner.current(key, limit)

    def held(self, key: str, limit: int) -> Iterator[tuple[str, Buffer]]:
        self._before("held", key)
        yield from self._inner.held(key, limit)

    def turn(self, key: str, version: str, on: bool) -> None:
        self._before("turn", key)
        self._inner.turn(key, version, on)
        self._after("turn", key)

    def turn_on(self, keys: Iterable[str]) -> Iterator[tuple[str, int | SecuredataError]]:
        return self._each("turn_on", keys, self._inner.turn_on)

    def turn_off(self, keys: Iterable[str]) -> Iterator[tuple[str, int | SecuredataError]]:
        return self._each("turn_off", keys, self._inner.turn_off)

    def _each(
        self, call: str, keys: Iterable[str], act: Callable[[list[str]], Iterator[tuple[str, int | SecuredataError]]]
    ) -> Iterator[tuple[str, int | SecuredataError]]:
        for key in keys:
            self._before(call, key)
            found = [*act([key])]
            self._after(call, key)
            yield from found


class Unlisted(Hooked):
    """Denies what is not there, as S3 does to a session that may not list."""

    def get(self, key: str, limit: int | None = None) -> Buffer:
        try:
            return super().get(key, limit)
        except NotFound as error:
            raise AccessDenied(f"{key}: refused or missing") from error

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        try:
            return super().get_ranges(key, ranges)
        except NotFound as error:
            raise AccessDenied(f"{key}: refused or missing") from error


class Faults:
    """Hooks that fail the calls of one kind, a number of times: before their effect, or after it (a lost answer)."""

    def __init__(self, call: str, times: int = 1, prefix: str = "", error: type[BaseException] = StorageUnreachable):
        self.call, self.times, self.prefix, self.error = call, times, prefix, error

    def __call__(self, call: str, key: str) -> None:
        if call == self.call and key.startswith(self.prefix) and self.times > 0:
            self.times -= 1
            raise self.error("the line is cut")
