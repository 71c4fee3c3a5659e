"""Seal and open objects: header || Cobblestone-256 message. Whole, as a stream, and by range.

The caller describes the object that must be there (from the head or a row) as an `Expect`; the header
is checked against it before any key is derived, so that every mix-up has an error of its own. After
that, a failed commitment can only mean 'wrong key, or changed after it was sealed'.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple, NoReturn

from securedata.errors import (
    AuthenticationFailed,
    FormatError,
    InvalidArgument,
    MalformedHeader,
    Truncated,
    WrongCorpus,
    WrongKind,
    WrongObject,
)
from securedata.format.cobblestone import (
    CHUNK,
    PREFIX,
    SEALED_CHUNK,
    TAG,
    Buffer,
    ChunkInvalid,
    CommitmentMismatch,
    Message,
    message_size,
    open_at_once,
)
from securedata.format.cobblestone import plain_size as _message_plain_size
from securedata.format.header import FIXED, MAX_HEADER, NO_KEY, Header, Kind, context, header_size

_SWAPPED = "objects were swapped; run 'securedata verify'"
_NOUN = {Kind.DATA: "object", Kind.HEAD: "head", Kind.TABLE: "table"}
LEAST = FIXED + PREFIX + TAG
"""Bytes of the smallest object, which holds no plaintext."""
_LABEL = len(context(b""))
# by the number of the kind: an enum's own hash is slow
_PLAIN_START = (b"", *(context(Header(kind, bytes(16), bytes(16)).encode()[:16]) for kind in sorted(Kind)))


class Expect(NamedTuple):
    """What a sealed object must be, according to the head or its row; None is not checked."""

    kind: Kind
    corpus_id: bytes | None
    object_id: bytes | None
    root: str
    sealed_size: int | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        """How error texts call the object: never by its logical path."""
        noun = _NOUN[self.kind]
        return f"{noun} {self.object_id.hex()} of {self.root}" if self.object_id else f"the {noun} of {self.root}"


def sealed_size(size: int, header_length: int = FIXED) -> int:
    """Bytes on storage of an object of `size` bytes."""
    return header_length + message_size(size)


def plain_size(sealed: int, header_length: int = FIXED) -> int | None:
    """Bytes of plaintext in a sealed object of that size; None if no object can have it."""
    return _message_plain_size(sealed - header_length)


# ---------------------------------------------------------------- seal


def seal(header: Header, key: Buffer, plain: Buffer) -> bytearray:
    """Seal `plain` under a 32-byte key that no other object uses. Returns the bytes for storage."""
    view = memoryview(plain).cast("B")
    encoded = header.encode()
    out = bytearray(sealed_size(len(view), len(encoded)))
    seal_into(encoded, key, view, memoryview(out))
    return out


def seal_into(encoded: bytes, key: Buffer, plain: memoryview, out: memoryview) -> int:
    """Like `seal`, with an encoded header and into a buffer of at least `sealed_size(len(plain))` bytes."""
    message = Message.new(key, context(encoded))
    start = len(encoded) + PREFIX
    out[: len(encoded)] = encoded
    out[len(encoded) : start] = message.prefix
    return start + message.seal_chunks(0, plain, out[start:], last=True)


def seal_stream(
    header: Header, key: Buffer, pieces: Iterable[Buffer], check: Expect | None = None
) -> Iterator[bytearray]:
    """Seal a stream of pieces of any size; holds no more than the current piece and 16 KiB.

    Args:
        check: if given, sealed bytes are opened again and compared before they are yielded; it names them in errors.

    Raises:
        AuthenticationFailed: they do not open to what was sealed.
    """
    encoded = header.encode()
    message = Message.new(key, context(encoded))
    start = bytearray(encoded + message.prefix)
    opened = open_message(key, start, check)[0] if check is not None else None
    yield start
    index, rest = 0, b""
    for piece in pieces:
        data = memoryview(rest + piece if rest else piece).cast("B")
        full = len(data) // CHUNK
        if full:
            out = bytearray(full * SEALED_CHUNK)
            message.seal_chunks(index, data[: full * CHUNK], memoryview(out), last=False)
            if opened is not None and check is not None:
                _check_sealed(opened, index, out, data[: full * CHUNK], check)
            index += full
            yield out
        rest = bytes(data[full * CHUNK :])
    out = bytearray(len(rest) + TAG)
    message.seal_chunks(index, memoryview(rest), memoryview(out), last=True)
    if opened is not None and check is not None:
        _check_sealed(opened, index, out, memoryview(rest), check)
    yield out


def _check_sealed(opened: Message, first: int, sealed: bytearray, plain: memoryview, check: Expect) -> None:
    out = bytearray(len(plain))
    open_chunks(opened, first, memoryview(sealed), memoryview(out), check)
    _compare(out, plain, check)


def check_sealed(key: Buffer, sealed: Buffer, plain: Buffer, check: Expect) -> None:
    """Check that what was sealed opens to the plaintext.

    Raises:
        AuthenticationFailed: it does not.
    """
    _compare(open_whole(key, sealed, check), plain, check)


def _compare(opened: Buffer, plain: Buffer, check: Expect) -> None:
    if opened != plain:
        _refuse(AuthenticationFailed, check, f"{check.name} does not open to what was sealed; the memory is faulty")


# ---------------------------------------------------------------- open


def read_header(data: Buffer, expect: Expect) -> Header:
    """The header at the start of `data`, which must be the header of the expected object.

    Raises:
        NotSealed, UnknownVersion, UnknownSuite, MalformedHeader, LimitExceeded, Truncated
        WrongKind, WrongCorpus, WrongObject
    """
    with _naming(expect):
        header = Header.decode(data, expect.name)
    _check(header, expect)
    return header


@contextlib.contextmanager
def _naming(expect: Expect) -> Iterator[None]:
    """Add root and object id to errors of the header's parser, which does not know them."""
    try:
        yield
    except FormatError as error:
        error.root, error.object_id = expect.root, expect.object_id
        raise


def header_length_of(data: Buffer, expect: Expect) -> int:
    with _naming(expect):
        return header_size(data, expect.name)


def _check(header: Header, expect: Expect) -> None:
    if header.kind is not expect.kind:
        _refuse(WrongKind, expect, f"{expect.name}: storage holds a {_NOUN[header.kind]} in its place; {_SWAPPED}")
    if expect.corpus_id is not None and header.corpus_id != expect.corpus_id:
        other = f"belongs to corpus {header.corpus_id.hex()}, not to {expect.corpus_id.hex()}"
        _refuse(WrongCorpus, expect, f"{expect.name} {other}; check the root, or restore the object")
    if expect.object_id is not None and header.object_id != expect.object_id:
        _refuse(WrongObject, expect, f"{expect.name}: object {header.object_id.hex()} is in its place; {_SWAPPED}")


def open_message(key: Buffer, start: Buffer, expect: Expect) -> tuple[Message, int]:
    """Check header and commitment at the start of an object; returns its message and the header's length.

    Raises:
        FormatError: one subclass per cause.
    """
    view = memoryview(start)
    if len(view) >= FIXED + PREFIX and view[:FIXED] == _plain_context(expect)[_LABEL:]:
        return derive(key, view[:FIXED], view[FIXED : FIXED + PREFIX], expect), FIXED
    size = header_length_of(view, expect)
    if expect.sealed_size is not None and expect.size is not None and size <= MAX_HEADER:
        wanted = expect.sealed_size - message_size(expect.size)
        if size != wanted:  # before the message is mistaken for header fields
            what = f"{expect.name}: a header of {size} bytes where the row says {wanted}; run 'securedata verify'"
            _refuse(MalformedHeader, expect, what)
    read_header(view, expect)
    if len(start) < size + PREFIX:
        refuse_cut(expect, len(start))
    return derive(key, view[:size], view[size : size + PREFIX], expect), size


def _plain_context(expect: Expect) -> bytes:
    """Derivation context of the only header without TLVs that passes every check, so one comparison is enough."""
    return _PLAIN_START[expect.kind] + (expect.corpus_id or b"") + NO_KEY + (expect.object_id or b"")


def _as_expected(view: memoryview, expect: Expect) -> tuple[bytes, int] | None:
    """Derivation context and plaintext size of a whole object, if it has this header and the expected length."""
    size = _message_plain_size(len(view) - FIXED)
    if size is None or (expect.size is not None and size != expect.size):
        return None
    if expect.sealed_size is not None and len(view) != expect.sealed_size:
        return None
    wanted = _plain_context(expect)
    return (wanted, size) if view[:FIXED].tobytes() == wanted[_LABEL:] else None


def derive(key: Buffer, header: memoryview, prefix: memoryview, expect: Expect) -> Message:
    """The opened message under a checked header.

    Raises:
        AuthenticationFailed: the commitment does not match.
    """
    try:
        return Message.opened(key, context(bytes(header)), prefix)
    except CommitmentMismatch:
        what = "wrong key, or header or first bytes changed after it was sealed"
    _refuse(AuthenticationFailed, expect, f"{expect.name} failed authentication: {what}; run 'securedata verify'")


def open_into(key: Buffer, sealed: Buffer, out: Buffer, expect: Expect) -> int:
    """Open a whole object into `out`; returns the plaintext's size in bytes.

    On an error `out` holds no plaintext: what had been written is wiped.

    Raises:
        FormatError: one subclass per cause.
        InvalidArgument: `out` is too small.
    """
    view, room = memoryview(sealed).cast("B"), memoryview(out).cast("B")
    if (found := _as_expected(view, expect)) is not None:
        derivation, size = found
        if size <= len(room) and open_at_once(key, derivation, view[FIXED:], room[:size]):
            return size
    message, header_length = open_message(key, view, expect)
    size = size_of(len(view), header_length, expect)
    target = room[:size]
    if len(target) < size:
        raise InvalidArgument(f"{expect.name} has {size} bytes, the buffer {len(target)}")
    open_chunks(message, 0, view[header_length + PREFIX :], target, expect)
    return size


def open_whole(key: Buffer, sealed: Buffer, expect: Expect) -> bytearray:
    """Open a whole object into a new buffer.

    Raises:
        FormatError: one subclass per cause.
    """
    view = memoryview(sealed).cast("B")
    if (found := _as_expected(view, expect)) is not None:
        derivation, size = found
        out = bytearray(size)
        if open_at_once(key, derivation, view[FIXED:], memoryview(out)):
            return out
    message, header_length = open_message(key, view, expect)
    out = bytearray(size_of(len(view), header_length, expect))
    open_chunks(message, 0, view[header_length + PREFIX :], memoryview(out), expect)
    return out


def open_stream(key: Buffer, pieces: Iterable[Buffer], expect: Expect) -> Iterator[bytearray]:
    """Open an object that arrives in pieces of any size; yields plaintext, but no byte of a bad chunk or after it.

    The plaintext is complete only when the iterator ends without an error. After an error, also one of `pieces`, every
    further call raises the same error again.

    Raises:
        FormatError: one subclass per cause.
        what `pieces` raises
    """
    return _Failing(_opened(key, pieces, expect))


class _Failing(Iterator[bytearray]):
    """After an error a generator looks finished: a caller that goes on would mistake a part for the whole."""

    def __init__(self, inner: Iterator[bytearray]) -> None:
        self._inner = inner
        self._failure: BaseException | None = None

    def __next__(self) -> bytearray:
        if self._failure is not None:
            raise self._failure
        try:
            return next(self._inner)
        except StopIteration:
            raise
        except BaseException as error:  # raised again, now and at each later call: an interrupt is not an end either
            self._failure = error
            raise


def _opened(key: Buffer, pieces: Iterable[Buffer], expect: Expect) -> Iterator[bytearray]:
    buffer = bytearray()
    message: Message | None = None
    index = total = 0
    for piece in pieces:
        buffer += piece
        total += len(piece)
        if message is None:
            if len(buffer) < FIXED or len(buffer) < header_length_of(buffer, expect) + PREFIX:
                continue
            message, header_length = open_message(key, buffer, expect)
            if expect.sealed_size is not None:
                size_of(expect.sealed_size, header_length, expect)
            del buffer[: header_length + PREFIX]
        if expect.sealed_size is not None and total > expect.sealed_size:
            # after the header check, so that a larger object in this one's place is reported as what it is
            refuse_length(expect, f"more than {expect.sealed_size}")
        full = len(buffer) // SEALED_CHUNK
        if full:
            out = bytearray(full * CHUNK)
            with memoryview(buffer) as view:
                open_chunks(message, index, view[: full * SEALED_CHUNK], memoryview(out), expect)
            del buffer[: full * SEALED_CHUNK]
            index += full
            yield out
    if message is None:
        read_header(buffer, expect)
        refuse_cut(expect, total)
    if (expect.sealed_size is not None and total != expect.sealed_size) or len(buffer) < TAG:
        refuse_cut(expect, total)
    out = bytearray(len(buffer) - TAG)
    with memoryview(buffer) as view:
        open_chunks(message, index, view, memoryview(out), expect)
    yield out


def open_chunks(message: Message, first: int, sealed: memoryview, out: memoryview, expect: Expect) -> None:
    try:
        message.open_chunks(first, sealed, out)
    except ChunkInvalid as error:
        out[:] = bytes(len(out))
        what = f"chunk {error.index} of {expect.name} failed authentication: the object was changed after it was sealed"
    else:
        return
    _refuse(AuthenticationFailed, expect, f"{what}; run 'securedata verify'")


def size_of(sealed: int, header_length: int, expect: Expect) -> int:
    """The plaintext size of an object of `sealed` bytes, which must agree with the row or head."""
    if expect.sealed_size is not None and sealed != expect.sealed_size:
        refuse_cut(expect, sealed)
    size = plain_size(sealed, header_length)
    if size is None:
        refuse_cut(expect, sealed)
    if expect.size is not None and size != expect.size:
        refuse_length(expect, f"{size} of plaintext, not {expect.size}")
    return size


def refuse_cut(expect: Expect, found: int) -> NoReturn:
    wanted = "it does not end in a last chunk" if expect.sealed_size is None else f"{expect.sealed_size} were sealed"
    refuse_length(expect, f"{found}, but {wanted}")


def refuse_length(expect: Expect, what: str) -> NoReturn:
    text = f"{expect.name} has the wrong length, in bytes: {what}; it was cut or extended; run 'securedata verify'"
    _refuse(Truncated, expect, text)


def _refuse(error: type[FormatError], expect: Expect, text: str) -> NoReturn:
    raise error(text, root=expect.root, object_id=expect.object_id)
