"""A fresh corpus key for the next head, wrapped by every KMS key that wraps the current one.

Whatever a commit changes, it can also rotate: it then seals the next head under a fresh key, and today's wraps open no
head that was saved before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from securedata.corpus.state.head import Head, OpenedHead
from securedata.errors import InvalidArgument, KeysError, NoTrustedKey
from securedata.keys.kms import KMS, open_kms
from securedata.keys.wraps import CORPUS_KEY, Wrap, rewrap_key


class FreshKey:
    """The key and wraps of one rotation. Each wrap is made once, however many tries the commit takes."""

    def __init__(self, root: str, trusted: Sequence[KMS], drop: Sequence[str] = ()) -> None:
        """Make no request.

        Args:
            trusted: KMS keys that the caller names; every wrap that stays must be by one of them.
            drop: URIs of wraps that end with this rotation, as in the head or in a config; their KMS is not called.
        """
        self.key = os.urandom(CORPUS_KEY)
        self._id = os.urandom(16)
        self._root, self._trusted, self._drop = root, trusted, tuple(drop)
        self._made: dict[str, Wrap] = {}

    def members(self, opened: OpenedHead) -> Mapping[str, Any]:
        """The fields of the next head that differ; it is sealed under `key`.

        Raises:
            InvalidArgument: a URI to drop is not among the wraps, or no wrap would remain.
            NoTrustedKey: a wrap is by a key that the caller does not name.
            KMSDenied, KMSUnreachable, KMSThrottled: a wrap cannot be made; nothing was committed.
        """
        head = opened.head
        wraps = tuple(self._wrap(head, wrap) for wrap in self._kept(head))
        return {"wraps": wraps, "key_id": self._id, "superseded": (*head.superseded, head.key_id)}

    def _kept(self, head: Head) -> list[Wrap]:
        kept = list(head.wraps)
        for uri in self._drop:
            left = [wrap for wrap in kept if not names_key(uri, wrap)]
            if len(left) == len(kept):
                known = ", ".join(wrap.uri for wrap in head.wraps)
                raise InvalidArgument(f"{self._root} has no wrap by {uri}; its wraps are by [{known}]", root=self._root)
            kept = left
        if not kept:
            raise InvalidArgument(
                f"no key would be left that opens {self._root}: add another wrap first", root=self._root
            )
        return kept

    def _wrap(self, head: Head, wrap: Wrap) -> Wrap:
        if wrap.uri not in self._made:
            try:
                self._made[wrap.uri] = rewrap_key(self._find(wrap), self.key, head.corpus_id)
            except NoTrustedKey:
                raise
            except KeysError as error:
                raise type(error)(
                    f"the new key of {self._root} was not wrapped, and nothing was committed: {error}; if that key is "
                    f"gone for good, give it up with --drop-wrap {wrap.uri}",
                    root=self._root,
                ) from error
        return self._made[wrap.uri]

    def _find(self, wrap: Wrap) -> KMS:
        """The trusted key that made a wrap."""
        failures: list[KeysError] = []
        for kms in self._trusted:
            try:
                if kms.matches(wrap.uri):
                    return kms
            except KeysError as error:  # a key file that is not here; it may be another wrap's
                failures.append(error)
        if failures:
            raise failures[0]
        raise NoTrustedKey(
            f"{self._root} is also wrapped by {wrap.uri}, a key that you do not name: name it with --kms or in the "
            f"config, so that it opens the new head too, or give it up with --drop-wrap {wrap.uri}",
            root=self._root,
        )


def names_key(uri: str, wrap: Wrap) -> bool:
    """Does a URI name the key of a wrap? A key file that is gone matches only by the URI in the head."""
    if uri == wrap.uri:
        return True
    try:
        return open_kms(uri).matches(wrap.uri)
    except KeysError:
        return False
