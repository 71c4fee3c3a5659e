"""Add or drop a wrap of the corpus key, and with it a KMS key that opens the corpus."""

from __future__ import annotations

from dataclasses import dataclass

from securedata.corpus.fresh_key import names_key
from securedata.corpus.state.head import Head, OpenedHead
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, KMSDenied
from securedata.keys.kms import KMS, ask_to_unwrap, context_for
from securedata.keys.local import refuse_inside
from securedata.keys.wraps import Wrap, wrap_key


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The current head, and whether a commit was needed."""

    head: Head
    changed: bool


def add_wrap(writer: Writer, kms: KMS) -> Wrapped:
    """Let another KMS key open the corpus. That key must be allowed to encrypt and decrypt under the corpus's context.

    An existing wrap by this key is kept if it opens the corpus, and replaced if it does not.

    Raises:
        ContextNotBound: the KMS ignores the context.
        KMSDenied, KMSUnreachable, KMSThrottled
        InvalidKMSURI: a key file inside the corpus.
        LimitExceeded: the head has no room for another wrap.
        as `Writer.commit`
    """
    refuse_inside(writer.root, [kms.uri])
    made: dict[bytes, Wrap] = {}  # by corpus key: another writer may rotate it between two tries
    changed = False

    def change(opened: OpenedHead) -> tuple[Wrap, ...] | None:
        nonlocal changed
        ours = [wrap for wrap in opened.head.wraps if kms.matches(wrap.uri)]
        changed = not any(_opens(kms, wrap, opened) for wrap in ours)
        if not changed:
            return None
        if opened.key not in made:
            [made[opened.key]] = wrap_key([kms], opened.key, opened.head.corpus_id)
        return (*(wrap for wrap in opened.head.wraps if wrap not in ours), made[opened.key])

    return Wrapped(writer.commit_wraps(change), changed)


def drop_wrap(writer: Writer, uri: str) -> Wrapped:
    """Stop a KMS key from opening later heads. This revokes nothing: its users may have kept what it opened.

    Args:
        uri: as in the head or in a config. Its KMS is not called, and may be gone.

    Raises:
        InvalidArgument: there is no wrap by this key, or it is the last one.
        as `Writer.commit`
    """

    def change(opened: OpenedHead) -> tuple[Wrap, ...]:
        wraps = opened.head.wraps
        kept = tuple(wrap for wrap in wraps if not names_key(uri, wrap))
        if len(kept) == len(wraps):
            known = ", ".join(wrap.uri for wrap in wraps)
            raise InvalidArgument(f"{writer.root} has no wrap by {uri}; its wraps are by [{known}]", root=writer.root)
        if not kept:
            raise InvalidArgument(
                f"{uri} is the last key that opens {writer.root}: add another wrap first", root=writer.root
            )
        return kept

    return Wrapped(writer.commit_wraps(change), True)


def _opens(kms: KMS, wrap: Wrap, opened: OpenedHead) -> bool:
    try:
        return ask_to_unwrap(kms, wrap.blob, context_for(opened.head.corpus_id)) == opened.key
    except KMSDenied:
        return False
