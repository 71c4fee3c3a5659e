"""What a source may write for consent, and what is an error of its row."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from securedata.corpus.columns import BadValue
from securedata.corpus.state.consent import Consent, consent_of

UTC = datetime.UTC
END = datetime.datetime(2027, 12, 31, 23, 59, 59, 999_999, UTC)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2027-12-31", END),
        (" 2027-12-31 ", END),
        (datetime.date(2027, 12, 31), END),
        ("2027-12-31T23:59:59.999999+00:00", END),
        ("2027-12-31T18:00Z", datetime.datetime(2027, 12, 31, 18, tzinfo=UTC)),
        ("2027-12-31 18:00:00", datetime.datetime(2027, 12, 31, 18, tzinfo=UTC)),
        ("2027-12-31T18:00:00+02:00", datetime.datetime(2027, 12, 31, 16, tzinfo=UTC)),
        (datetime.datetime(2027, 12, 31, 18), datetime.datetime(2027, 12, 31, 18, tzinfo=UTC)),
        ("9999-12-31", datetime.datetime.max.replace(tzinfo=UTC)),
        ("", None),
        (None, None),
    ],
)
def test_times(given: Any, meant: datetime.datetime | None) -> None:
    assert consent_of({"expires": given, "last_contact": given}) == Consent(expires=meant, last_contact=meant)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (1_830_297_600, "its expires is a int, which can mean several things: write it as 2027-12-31"),
        (2027.5, "its expires is a float"),
        (True, "its expires is a bool"),
        ("1830297600", "its expires is not a date or time such as 2027-12-31"),
        ("20271231", "not a date"),
        ("31.12.2027", "not a date"),
        ("12/31/2027", "not a date"),
        ("2027-W05", "not a date"),
        ("never", "not a date"),
        ("2027-02-30", "no date that there is"),
        ("2027-12-31T25:00Z", "no date that there is"),
        ("0001-01-01T00:00+05:00", "beyond the year 9999, or before 1"),
        (["2027-12-31"], "its expires is a list"),
    ],
)
def test_what_is_no_time(given: Any, why: str) -> None:
    with pytest.raises(BadValue, match=why):
        consent_of({"expires": given})


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("asr", ("asr",)),
        ("asr; tts ;asr;", ("asr", "tts")),
        ('["asr", "tts"]', ("asr", "tts")),
        (["tts", "asr"], ("tts", "asr")),
        ("e\u0301", ("\xe9",)),
        ("[]", ()),
        ([], ()),
        ("", None),
        (" ; ", None),
        (None, None),
    ],
)
def test_purposes(given: Any, meant: tuple[str, ...] | None) -> None:
    assert consent_of({"purposes": given}) == Consent(purposes=meant)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("[asr]", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        (7, "its purposes are a int, not a list"),
        ({"asr": True}, "its purposes are a dict"),
        ([1], "among its purposes: a purpose is a text"),
        (["asr", ""], "among its purposes"),
        (["a;b"], "among its purposes"),
        ("asr\x00", "among its purposes"),
    ],
)
def test_what_is_no_purpose(given: Any, why: str) -> None:
    with pytest.raises(BadValue, match=why):
        consent_of({"purposes": given})


@pytest.mark.parametrize(("given", "meant"), [(" c-1 ", "c-1"), (17, "17"), ("", None), (None, None)])
def test_ids(given: Any, meant: str | None) -> None:
    assert consent_of({"consent_id": given}) == Consent(meant)


@pytest.mark.parametrize("given", [True, 1.5, ["c"], "a\nb"])
def test_what_is_no_id(given: Any) -> None:
    with pytest.raises(BadValue, match="consent_id"):
        consent_of({"consent_id": given})
