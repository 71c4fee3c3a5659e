"""Heads that are authentic and break the format, as a broken or newer writer makes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from securedata.errors import (
    LimitExceeded,
    MalformedManifest,
    Truncated,
)
from tests.kit.corpora.contents import open_quietly
from tests.kit.corpora.harmed import TwoCorpora, check_text
from tests.kit.corpora.rows import fill, writer_of

# -------------------------------------------------------------------------------------- authentic heads that are broken


def edited(**changes: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda body: json.dumps({**body, **changes}).encode()


def without(name: str) -> Callable[[dict[str, Any]], bytes]:
    return lambda body: json.dumps({key: value for key, value in body.items() if key != name}).encode()


def of_part(**changes: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda body: json.dumps({**body, "parts": [{**body["parts"][0], **changes}, *body["parts"][1:]]}).encode()


def raw(**texts: str) -> Callable[[dict[str, Any]], bytes]:
    """Members as JSON text that json.dumps would not write."""

    def build(body: dict[str, Any]) -> bytes:
        rest = json.dumps({key: value for key, value in body.items() if key not in texts})
        return (rest[:-1] + "".join(f', "{key}": {text}' for key, text in texts.items()) + "}").encode()

    return build


def leaving(time_: object) -> Callable[[dict[str, Any]], bytes]:
    return lambda body: json.dumps({**body, "leaving": [{**body["parts"][0], "time": time_}]}).encode()


BODIES: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "nothing": lambda body: b"",
    "no JSON": lambda body: b"\x00\x01",
    "no UTF-8": lambda body: b'{"generation": "\xff"}',
    "cut": lambda body: json.dumps(body).encode()[:-1],
    "two values": lambda body: json.dumps(body).encode() + b"{}",
    "a list": lambda body: b"[]",
    "a number": lambda body: b"7",
    "null": lambda body: b"null",
    "deep": lambda body: b"[" * 200_000,
    "deep member": raw(x='{"a":' * 100_000 + "1" + "}" * 100_000),
    "long number": raw(generation="9" * 5000),
    **{f"without {one}": without(one) for one in ("generation", "secret", "parts", "settings", "writes", "horizon")},
    "generation -1": edited(generation=-1),
    "generation true": edited(generation=True),
    "generation 1.5": edited(generation=1.5),
    "generation text": edited(generation="1"),
    "secret short": edited(secret="00" * 31),
    "secret no hex": edited(secret="zz" * 32),
    "secret number": edited(secret=5),
    "secret null": edited(secret=None),
    "parts null": edited(parts=None),
    "parts text": edited(parts="abc"),
    "parts object": edited(parts={"id": "x"}),
    "a part null": edited(parts=[None]),
    "a part empty": edited(parts=[{}]),
    "a part twice": lambda body: json.dumps({**body, "parts": body["parts"] * 2}).encode(),
    "part id": of_part(id="00"),
    "part id upper": of_part(id="AB" * 16),
    "part id blanks": of_part(id=" ".join(["ab"] * 16)),
    "part key": of_part(key="00" * 33),
    "part rows": of_part(rows=-1),
    "part size": of_part(size="5"),
    "part others": of_part(others=10**6),
    "settings list": edited(settings=[1]),
    "settings null": edited(settings=None),
    "settings pairs": edited(settings=[["a", 1]]),
    "tombstones": edited(tombstones=[{"tag": "00"}]),
    "leaving": edited(leaving=[{"id": "00" * 16}]),
    "leaving time": leaving("soon"),
    "leaving nan": leaving(float("nan")),
    "horizon text": edited(horizon="tomorrow"),
    "horizon digits": edited(horizon="12"),
    "horizon null": edited(horizon=None),
    "horizon true": edited(horizon=True),
    "horizon nan": edited(horizon=float("nan")),
    "horizon inf": edited(horizon=float("inf")),
    "horizon huge": raw(horizon="1" + "0" * 400),
    "horizon 1e999": raw(horizon="1e999"),
    "superseded": edited(superseded=["00"]),
    "writes": edited(writes=[5]),
}


@pytest.mark.parametrize("make_body", BODIES.values(), ids=BODIES)
def test_an_authentic_head_that_breaks_the_format(
    make_body: Callable[[dict[str, Any]], bytes], made: TwoCorpora
) -> None:
    reader = open_quietly(made.reference, made.place)
    writer = writer_of(made.reference, made.place)
    body = made.body()
    made.put_body(make_body(body))
    for act in (
        lambda: open_quietly(made.reference, made.place),
        reader.refresh,
        writer.refresh,
        lambda: fill(writer, "new"),
        lambda: writer_of(made.reference, made.place),
    ):
        with pytest.raises(MalformedManifest, match=r"head\.prev") as caught:
            act()
        check_text(caught.value, made)
        assert body["secret"] not in str(caught.value)


def test_members_of_a_newer_version_are_kept(made: TwoCorpora) -> None:
    made.put_body(json.dumps({**made.body(), "from_the_future": {"a": [1, None]}}).encode())
    fill(writer_of(made.reference, made.place), "new")
    assert made.body()["from_the_future"] == {"a": [1, None]}


def test_a_part_size_in_the_head_limits_what_is_read(made: TwoCorpora) -> None:
    (one, two) = made.opened.head.parts
    made.put_head(parts=(replace(one, size=100), two))
    with pytest.raises(LimitExceeded, match="100"):
        open_quietly(made.reference, made.place)
    made.put_head(parts=(replace(one, size=2**52), two))
    with pytest.raises(Truncated, match=one.id.hex()):
        open_quietly(made.reference, made.place)
    made.put_head(parts=(replace(one, rows=2**52), two))
    with pytest.raises(MalformedManifest, match=one.id.hex()):
        open_quietly(made.reference, made.place)


def test_a_head_above_the_limit_is_not_read(made: TwoCorpora, monkeypatch: pytest.MonkeyPatch) -> None:
    made.put_body(b" " * 5000 + b"{}")
    monkeypatch.setattr("securedata.corpus.state.lease.MAX_SEALED", 4000)
    monkeypatch.setattr("securedata.corpus.state.writer_lease.MAX_SEALED", 4000)
    for act in (
        lambda: open_quietly(made.reference, made.place),
        lambda: writer_of(made.reference, made.place),
    ):
        with pytest.raises(LimitExceeded, match="4000") as caught:
            act()
        check_text(caught.value, made)
