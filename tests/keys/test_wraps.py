"""Wraps of the corpus key: which KMS key is asked, with which context, and how a wrap is written."""

from __future__ import annotations

import pytest

from securedata.errors import (
    KMSDenied,
    KMSThrottled,
    KMSUnreachable,
    LimitExceeded,
    MalformedHeader,
    NoTrustedKey,
    SecuredataError,
)
from securedata.keys.kms import KMS, Context
from securedata.keys.wraps import Wrap, unwrap_key, wrap_key
from tests.keys.conftest import Keys

CORPUS = b"C" * 16
ROOT = "memory://corpus"
SECRET = bytes(range(32))


# -------------------------------------------------------------------------------------- storage never chooses the KMS


class Telltale(KMS):
    """Remembers with which context it was asked."""

    def __init__(self, uri: str, answer: bytes | SecuredataError = SECRET) -> None:
        self.uri = uri
        self.answer = answer
        self.asked: list[Context] = []

    @property
    def wrap_uri(self) -> str:
        return self.uri

    def matches(self, wrap_uri: str) -> bool:
        return wrap_uri == self.uri

    def wrap(self, key: bytes, context: Context) -> bytes:
        raise AssertionError("reading wraps nothing")

    def unwrap(self, blob: bytes, context: Context) -> bytes:
        self.asked.append(dict(context))
        if isinstance(self.answer, SecuredataError):
            raise self.answer
        return self.answer


WRAPS = [Wrap("t://1", b"1"), Wrap("t://2", b"2"), Wrap("t://3", b"3")]


def test_only_trusted_keys_are_asked_and_in_the_caller_s_order() -> None:
    two, three, four = Telltale("t://2", KMSDenied("no")), Telltale("t://3"), Telltale("t://4")
    assert unwrap_key(WRAPS, [four, two, three], CORPUS, ROOT) == SECRET
    assert (four.asked, len(two.asked), len(three.asked)) == ([], 1, 1)
    two = Telltale("t://2")
    assert unwrap_key(WRAPS, [two, three], CORPUS, ROOT) == SECRET
    assert (len(two.asked), len(three.asked)) == (1, 1), "the second is not asked when the first answers"


def test_the_context_comes_from_the_corpus_id_and_from_nowhere_else() -> None:
    kms = Telltale("t://1")
    unwrap_key(WRAPS, [kms], CORPUS, ROOT)
    assert kms.asked == [{"securedata:corpus": CORPUS.hex()}]


def test_no_trusted_key_shows_both_lists() -> None:
    with pytest.raises(NoTrustedKey) as caught:
        unwrap_key(WRAPS[:2], [Telltale("t://8"), Telltale("t://9")], CORPUS, ROOT)
    assert all(uri in str(caught.value) for uri in ("t://1", "t://2", "t://8", "t://9", ROOT))
    with pytest.raises(NoTrustedKey, match="you trust \\[none\\]"):
        unwrap_key(WRAPS, [], CORPUS, ROOT)


def test_what_storage_says_about_wraps_is_shown_harmlessly() -> None:
    # the wraps of a head are not authenticated yet: whoever can write there could move a reader's cursor
    evil = Wrap("\x1b[2J\x1b]0;title\x07\n" + "x" * 5000, b"1")
    with pytest.raises(NoTrustedKey) as caught:
        unwrap_key([evil] * 50, [Telltale("t://9")], CORPUS, ROOT)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("waiting", [KMSUnreachable("away"), KMSThrottled("slower")])
def test_a_failure_that_waiting_mends_is_told_before_a_refusal(waiting: SecuredataError) -> None:
    keys = [Telltale("t://1", KMSDenied("no")), Telltale("t://2", waiting)]
    with pytest.raises(type(waiting), match="memory://corpus"):
        unwrap_key(WRAPS, keys, CORPUS, ROOT)
    with pytest.raises(KMSDenied, match="memory://corpus"):
        unwrap_key(WRAPS, keys[:1], CORPUS, ROOT)


def test_a_key_of_another_length_is_no_corpus_key() -> None:
    with pytest.raises(KMSDenied, match="31 bytes"):
        unwrap_key(WRAPS, [Telltale("t://1", bytes(31))], CORPUS, ROOT)


# ------------------------------------------------------------------------------------------------------------- a wrap


def test_a_wrap_reads_back() -> None:
    for wrap in (*WRAPS, Wrap("", b"x"), Wrap("ü" * 1000, bytes(5000))):
        assert Wrap.decode(wrap.encode(), ROOT) == wrap


@pytest.mark.parametrize(
    "value",
    [b"", b"\0", b"\0\0", b"\0\x03ab", b"\0\x03abc", b"\xff\xffabc", b"\0\x02\xff\xfeblob"],
)
def test_a_wrap_that_breaks_the_format(value: bytes) -> None:
    with pytest.raises(MalformedHeader, match=ROOT):
        Wrap.decode(value, ROOT)


def test_a_wrap_has_a_limit() -> None:
    with pytest.raises(LimitExceeded):
        Wrap("t://1", bytes(0xFFFF)).encode()


def test_a_wrap_hides_nothing_in_its_repr_that_is_secret(keys: Keys) -> None:
    (wrap,) = wrap_key([keys("mine")], SECRET, CORPUS)
    assert SECRET.hex() not in repr(wrap)
