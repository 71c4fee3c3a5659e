"""Speaker patterns, against a second matcher that tries every division of the path."""

import string
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from securedata.errors import InvalidArgument
from securedata.ingest.sources.pattern import PathPattern


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("{speaker}/{utterance}", "anna/001", {"speaker": "anna", "utterance": "001"}),
        ("{speaker}/{utterance}", "x/anna/001", None),
        ("{speaker}/{utterance}", "001", None),
        ("{speaker}", "anna", {"speaker": "anna"}),
        ("{speaker}/*/{utterance}", "anna/2024/001", {"speaker": "anna", "utterance": "001"}),
        ("*/{speaker}/*", "a/b/c", {"speaker": "b"}),
        ("{split}/{speaker}-{utterance}", "dev/a-b-c", {"split": "dev", "speaker": "a", "utterance": "b-c"}),
        ("{split}/{speaker}-{utterance}", "dev/-b", None),
        ("{speaker}_{utterance}_mic{mic}", "p225_001_mic1", {"speaker": "p225", "utterance": "001", "mic": "1"}),
        ("{speaker}/*-{utterance}", "p/a-b-c", {"speaker": "p", "utterance": "b-c"}),
        ("{speaker}/*_{utterance}", "p/_7", {"speaker": "p", "utterance": "7"}),
        (
            "{speaker}/{chapter}/{speaker}-{chapter}-{n}",
            "19/198/19-198-0",
            {"speaker": "19", "chapter": "198", "n": "0"},
        ),
        ("{speaker}/{chapter}/{speaker}-{chapter}-{n}", "19/198/20-198-0", None),
        ("wavs/{speaker}.v1/{utterance}", "wavs/anna.v1/u", {"speaker": "anna", "utterance": "u"}),
        ("wavs/{speaker}.v1/{utterance}", "wavs/annaXv1/u", None),
        ("Wavs/{speaker}", "wavs/anna", None),
        ("{{{speaker}}}", "{anna}", {"speaker": "anna"}),
        ("{speaker}/a\nb*", "x/a\nb\nc", {"speaker": "x"}),
    ],
)
def test_reading(pattern: str, path: str, expected: dict[str, str] | None) -> None:
    assert PathPattern(pattern).match(path) == expected


def test_names_are_listed_once_in_order() -> None:
    assert PathPattern("{split}/{speaker}/{take}/{speaker}_{utterance}").names == (
        "split",
        "speaker",
        "take",
        "utterance",
    )


def test_both_sides_are_compared_in_nfc() -> None:
    decomposed = unicodedata.normalize("NFD", "é")
    assert PathPattern(f"{decomposed}/{{speaker}}").match("é/ö") == {"speaker": "ö"}


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("{utterance}", "no {speaker}"),
        ("*/*", "no {speaker}"),
        ("", "parts"),
        ("/{speaker}", "parts"),
        ("{speaker}/", "parts"),
        ("{speaker}//x", "parts"),
        ("../{speaker}", "parts"),
        ("{speaker}/./x", "parts"),
        ("{speaker}{utterance}", "side by side"),
        ("{speaker}*", "side by side"),
        ("*{speaker}", "side by side"),
        ("{speaker}/**", "side by side"),
        ("{speaker}/{", "brace at character 11"),
        ("{speaker}/}", "brace at character 11"),
        ("{speaker}/{}", "brace"),
        ("{speaker}/{1}", "brace"),
        ("{speaker}/{a b}", "brace"),
        ("{speaker}/{utterance}.wav", "extension"),
        ("{speaker}/{utterance}.FLAC", "extension"),
    ],
)
def test_refused(pattern: str, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        PathPattern(pattern)
    assert reason in str(caught.value)
    assert repr(pattern) in str(caught.value)


# A pattern as the list of its pieces: ("name", x), ("star", ""), ("text", x).
Piece = tuple[str, str]


def first_reading(pieces: list[Piece], path: str, bound: dict[str, str]) -> dict[str, str] | None:
    """By the rules as they are written: pieces from the left, each wildcard as short as the rest allows."""
    if not pieces:
        return bound if not path else None
    (kind, value), rest = pieces[0], pieces[1:]
    if kind == "text":
        return first_reading(rest, path[len(value) :], bound) if path.startswith(value) else None
    if kind == "name" and value in bound:
        return first_reading([("text", bound[value]), *rest], path, bound)
    limit = path.find("/") if "/" in path else len(path)
    for end in range(1 if kind == "name" else 0, limit + 1):
        found = first_reading(rest, path[end:], {**bound, value: path[:end]} if kind == "name" else bound)
        if found is not None:
            return found
    return None


literals = st.text(alphabet="ab-_./{}\\[](", min_size=1, max_size=3)
wildcards = st.one_of(
    st.sampled_from(["speaker", "utterance", "x"]).map(lambda name: ("name", name)), st.just(("star", ""))
)


@st.composite
def patterns(draw: st.DrawFn) -> list[Piece]:
    pieces: list[Piece] = []
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()) or (pieces and pieces[-1][0] != "text"):
            pieces.append(("text", draw(literals)))
        pieces.append(draw(wildcards))
    if draw(st.booleans()):
        pieces.append(("text", draw(literals)))
    assume(("name", "speaker") in pieces)
    return pieces


def spelled(pieces: list[Piece]) -> str:
    spelling = {
        "name": lambda value: "{" + value + "}",
        "star": lambda _: "*",
        "text": lambda value: value.replace("{", "{{").replace("}", "}}"),
    }
    return "".join(spelling[kind](value) for kind, value in pieces)


@given(data=st.data(), pieces=patterns())
def test_against_every_division(data: st.DataObject, pieces: list[Piece]) -> None:
    text = spelled(pieces)
    assume(all(part not in ("", ".", "..") for part in text.split("/")))
    pattern = PathPattern(text)
    # Half of the paths are made to fit, the others are made of the same letters.
    filling = st.text(alphabet="ab-_", min_size=0, max_size=3)
    fitting = "".join(value if kind == "text" else data.draw(filling) for kind, value in pieces)
    path = data.draw(st.one_of(st.just(fitting), st.text(alphabet="ab-_./{}\\[](", max_size=12)))
    assert pattern.match(path) == first_reading(pieces, path, {})


@given(st.text(alphabet=string.printable, max_size=12))
def test_any_text_is_a_pattern_or_an_invalid_argument(text: str) -> None:
    try:
        pattern = PathPattern(text + "/{speaker}")
    except InvalidArgument:
        return
    if not set("*{}") & set(text):
        assert pattern.match(text + "/x") == {"speaker": "x"}
