"""Manifests as people have them: NeMo's JSON lines, Common Voice's TSV, CSV of every kind, and broken ones."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securedata.errors import InvalidArgument
from securedata.ingest.sources.manifest_reader import Rows, read_rows


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def lines(tmp_path: Path, *rows: object) -> Path:
    return write(tmp_path, "m.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def columns(rows: Rows) -> dict[str, list[object]]:
    return {name: getattr(rows, name) for name in Rows.__slots__ if isinstance(getattr(rows, name), list)}


def test_nemo(tmp_path: Path) -> None:
    rows = read_rows(
        lines(
            tmp_path,
            {"audio_filepath": "a.wav", "duration": 1.5, "text": "hello", "lang": "en", "speaker": 7, "x": [1, "é"]},
            {"audio_filepath": "b.wav", "duration": 2, "text": "", "offset": 0.25, "pred_text": None},
        )
    )
    assert columns(rows) == {
        "names": ["a.wav", "b.wav"],
        "lines": [1, 2],
        "transcript": ["hello", ""],
        "speaker": ["7", ""],
        "utterance": ["", ""],
        "split": ["", ""],
        "language": ["en", ""],
        "subjects": [("7",), ()],
        "offset": [None, 0.25],
        "duration": [1.5, 2.0],
        "consent": [(None, None, None, None)] * 2,
        "extra": ['{"x":[1,"é"]}', ""],
        "fault": ["", ""],
    }
    assert rows.names_people


def test_common_voice(tmp_path: Path) -> None:
    rows = read_rows(
        write(
            tmp_path,
            "train.tsv",
            'client_id\tpath\tsentence\tup_votes\tage\tlocale\n4f3c\tx_1.mp3\t"Oh," she said.\t2\t\teo\n'
            '9a\tx_2.mp3\tShe said ""no"".\t0\ttwenties\teo\n',
        )
    )
    assert rows.speaker == ["4f3c", "9a"]
    assert rows.subjects == [("4f3c",), ("9a",)]
    assert rows.transcript == ['"Oh," she said.', 'She said ""no"".']
    assert rows.language == ["eo", "eo"]
    assert rows.extra == ['{"up_votes":"2"}', '{"up_votes":"0","age":"twenties"}']


def test_csv_with_quotes_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = '\ufeffFile,Text,ID,Subset\r\na.wav,"one, ""two""\r\nthree",u1,dev\r\n\r\nb.wav,,,\r\n'
    rows = read_rows(write(tmp_path, "m.CSV", text))
    assert rows.names == ["a.wav", "b.wav"]
    assert rows.transcript == ['one, "two"\r\nthree', ""]
    assert rows.utterance == ["u1", ""]
    assert rows.split == ["dev", ""]
    assert rows.lines == [3, 5]
    assert not rows.names_people


@pytest.mark.parametrize(
    "name",
    [
        "path",
        "file",
        "filename",
        "audio",
        "audio_filepath",
        "audio_filename",
        "audio_file",
        "wav",
        "Path",
        " wav ",
        "Audio File",
    ],
)
def test_names_of_the_audio_column(tmp_path: Path, name: str) -> None:
    assert read_rows(write(tmp_path, "m.csv", f"{name},speaker_id\na.wav,s\n")).names == ["a.wav"]
    assert read_rows(lines(tmp_path, {name: "a.wav"})).names == ["a.wav"]


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, "m.csv", "clip,who,speaker,text\na.wav,anna,x,hello\n")
    rows = read_rows(path, {"path": "clip", "speaker": "who", "transcript": None})
    assert (rows.names, rows.subjects, rows.transcript) == (["a.wav"], [("anna",)], [""])
    assert rows.extra == ['{"speaker":"x","text":"hello"}']
    assert not read_rows(path, {"path": "clip", "speaker": ""}).names_people
    with pytest.raises(InvalidArgument, match="no column 'none', which was chosen as the speaker"):
        read_rows(path, {"path": "clip", "speaker": "none"})
    with pytest.raises(InvalidArgument, match="'person'"):
        read_rows(path, {"person": "who"})
    with pytest.raises(InvalidArgument, match=r"\(columns: 'clip'"):
        read_rows(path)


@pytest.mark.parametrize(
    "pair", [("speaker", "client_id"), ("path", "file"), ("text", "sentence"), ("id", "utterance")]
)
def test_two_columns_for_one_purpose(tmp_path: Path, pair: tuple[str, str]) -> None:
    header = [*pair] if "path" in pair else ["audio", *pair]
    path = write(tmp_path, "m.csv", ",".join(header) + "\n" + ",".join("abc"[: len(header)]) + "\n")
    with pytest.raises(InvalidArgument, match=f"'{pair[0]}' and '{pair[1]}' could both be"):
        read_rows(path)


def test_several_people(tmp_path: Path) -> None:
    rows = read_rows(
        lines(
            tmp_path,
            {"wav": "a.wav", "subjects": ["b", "a", "b", " "], "speaker": "a"},
            {"wav": "b.wav", "subjects": "anna;ben"},
            {"wav": "c.wav", "subjects": ["a"], "speaker": "c"},
            {"wav": "d.wav", "subjects": [], "speaker": "d"},
        )
    )
    assert rows.subjects == [("b", "a"), ("anna", "ben"), (), ("d",)]
    assert rows.speaker == ["a", "", "", "d"]
    assert rows.fault == ["", "", "its speaker is not among its subjects", ""]


def test_a_column_of_subjects_alone_names_people(tmp_path: Path) -> None:
    assert read_rows(write(tmp_path, "m.csv", "wav,subjects\na.wav,anna;ben\n")).names_people


def test_people_are_nfc_and_otherwise_as_written(tmp_path: Path) -> None:
    rows = read_rows(lines(tmp_path, *({"wav": "a", "speaker": name} for name in ("Zoe\u0308", " x ", "X", " \t"))))
    assert rows.subjects == [("Zo\u00eb",), (" x ",), ("X",), ()]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"offset": -1}, "offset"),
        ({"offset": "soon"}, "offset"),
        ({"offset": True}, "offset"),
        ({"duration": [1]}, "duration"),
        ({"duration": "nan"}, "duration"),
        ({"duration": 10**400}, "duration"),
        ({"text": ["a"]}, "a list where text belongs"),
        ({"speaker": 1.5}, "a float where text belongs"),
        ({"speaker": "a\0b"}, "control character"),
        ({"subjects": ["a", "b\n"]}, "control character"),
        ({"speaker": True}, "a bool where text belongs"),
        ({"text": "\ud800"}, "surrogate"),
        ({"note": "\ud800"}, "surrogate"),
        ({"subjects": [["a"]]}, "a list where text belongs"),
    ],
)
def test_impossible_values(tmp_path: Path, row: dict[str, object], fault: str) -> None:
    rows = read_rows(lines(tmp_path, {"wav": "a.wav", **row}))
    assert rows.names == ["a.wav"]
    assert fault in rows.fault[0]
    assert rows.subjects == [()]


def test_infinity_is_no_json(tmp_path: Path) -> None:
    assert "cannot be written as JSON" in read_rows(write(tmp_path, "m.json", '{"wav": "a", "x": 1e999}')).fault[0]
    with pytest.raises(InvalidArgument, match="NaN"):
        read_rows(write(tmp_path, "m.json", '{"wav": "a", "x": NaN}'))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("m.jsonl", '{"wav": "a.wav"}\n{"wav": \n', "line 2: not valid JSON, at column 10"),
        (
            "m.jsonl",
            '{"wav": "a.wav"}\n[{"wav": "a.wav"}]\n',
            "line 2: each line must be a JSON object, and this is a list",
        ),
        (
            "m.json",
            '\n[{"wav": "a.wav"},\n{"wav": "b.wav"}]\n',
            "line 2: the file is a JSON array; write one object a line",
        ),
        ("m.json", '{\n  "wav": "a.wav"\n}\n', "line 1: a JSON object takes several lines"),
        ("m.jsonl", "[" * 100_000, "line 1"),
        ("m.jsonl", '{"text": "x"}\n', "no column names the audio file"),
        ("m.jsonl", '{"wav": ""}\n', "empty or not text"),
        ("m.jsonl", '{"wav": 3}\n', "empty or not text"),
        ("m.jsonl", '{"wav": "\\ud800.wav"}\n', "empty or not text"),
        ("m.jsonl", "", "has no rows"),
        ("m.csv", "wav,speaker\n", "has no rows"),
        ("m.csv", "a.wav,hello\nb.wav,x\n", "its first line looks like data"),
        ("m.csv", "wav,text,text\na,b,c\n", "names column 'text' twice"),
        ("m.csv", "wav,text\na,b,c\n", "line 2: 3 fields, but the header has 2"),
        ("m.tsv", "wav\ttext\na\n", "line 2: 1 fields, but the header has 2"),
        ("m.csv", 'wav,text\na,"b" c\n', "line 2"),
        ("m.csv", "wav,text\n,b\n", "empty or not text"),
        ("m.txt", "a.wav hello\n", "must have one of the suffixes"),
    ],
)
def test_broken_manifests(tmp_path: Path, name: str, text: str, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read_rows(write(tmp_path, name, text))
    assert reason in str(caught.value)
    assert name in str(caught.value)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes("wav,text\na,Größe\n".encode("latin-1"))
    with pytest.raises(InvalidArgument, match="not UTF-8"):
        read_rows(tmp_path / "l.csv")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        read_rows(tmp_path / "none.csv")
    (tmp_path / "d.json").mkdir()
    with pytest.raises(InvalidArgument, match="cannot be read"):
        read_rows(tmp_path / "d.json")


@given(text=st.text(max_size=60), suffix=st.sampled_from(["json", "csv", "tsv"]), header=st.booleans())
def test_any_text_is_rows_or_an_invalid_argument(
    tmp_path_factory: pytest.TempPathFactory, text: str, suffix: str, header: bool
) -> None:
    start = {"json": '{"wav": "a", "text": "', "csv": "wav,text\n", "tsv": "wav\ttext\n"}[suffix] if header else ""
    path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    path.write_bytes((start + text).encode("utf-8", "surrogatepass"))
    try:
        rows = read_rows(path)
    except InvalidArgument:
        return
    assert len({len(column) for column in columns(rows).values()}) == 1
    for extra in rows.extra:
        assert extra == "" or isinstance(json.loads(extra), dict)


def test_a_key_that_is_there_twice(tmp_path: Path) -> None:
    """Python takes the last, others the first: two people, one of whom would be gone."""
    for text in ('{"path":"a.wav","speaker":"x","speaker":"y"}', '{"path":"a.wav","more":{"k":1,"k":2}}'):
        with pytest.raises(InvalidArgument, match=r"m.jsonl, line 1: .* two values for"):
            read_rows(write(tmp_path, "m.jsonl", text))


@pytest.mark.parametrize(("name", "mark"), [("m.csv", ","), ("m.tsv", "\t")])
def test_a_field_of_any_length(tmp_path: Path, name: str, mark: str) -> None:
    words = "word " * 60_000 + "end"
    text = f"path{mark}text\na.wav{mark}{words}\nb.wav{mark}x\n"
    assert read_rows(write(tmp_path, name, text)).transcript == [words, "x"]


def test_a_number_that_only_python_reads(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, "m.csv", "path,offset,duration\na.wav,1_0,1\nb.wav,10,1\n"))
    assert [bool(fault) for fault in rows.fault] == [True, False]


def test_words_in_files_of_their_own_are_not_left_out_in_silence(tmp_path: Path) -> None:
    rows = [{"audio_filepath": "a.wav", "speaker": "ann", "text_filepath": "a.txt"}]
    with pytest.raises(
        InvalidArgument, match="put them into a column 'text', or go without them with --columns transcript="
    ):
        read_rows(lines(tmp_path, *rows))
    assert json.loads(read_rows(lines(tmp_path, *rows), {"transcript": None}).extra[0]) == {"text_filepath": "a.txt"}
    assert read_rows(lines(tmp_path, {**rows[0], "text": "hello"})).transcript == ["hello"]


@pytest.mark.parametrize("at", [0, 100, 5_000])
def test_nul_is_no_text_wherever_it_is(tmp_path: Path, at: int) -> None:
    text = f"path,speaker,text\na.wav,ann,{'x' * at}\0y\n"
    with pytest.raises(InvalidArgument, match="holds NUL bytes"):
        read_rows(write(tmp_path, "m.csv", text))


def test_parquet(tmp_path: Path) -> None:
    rows = [{"audio": {"path": "a.wav"}, "sentence": "hi", "speaker": "ann"}, {"audio": {"path": "b.wav"}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet")
    found = read_rows(tmp_path / "m.parquet")
    assert (found.names, found.transcript, found.speaker) == (["a.wav", "b.wav"], ["hi", ""], ["ann", ""])
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    with pytest.raises(InvalidArgument, match=r"m\.parquet: the manifest cannot be read as Parquet: "):
        read_rows(tmp_path / "m.parquet")


DATA = "its first line looks like data, not like names of columns (it begins with "
NAMED = "): put a line with the names of the columns above it, such as path, speaker, text"
SEPARATE = "separate all fields by ',' or, in a .tsv, by tabs"
HEADLESS = {
    "metadata.csv": ("LJ001-0001|In print, in|In print\nLJ001-0002|being|being\n", f"{DATA}'LJ001-0001'{NAMED}, and "),
    "m.csv": ("LJ001-0001|one\nLJ001-0002|two\n", f"{DATA}'LJ001-0001'{NAMED}, and {SEPARATE}"),
    "files.csv": ("a.wav,one\nb.wav,two\n", f"{DATA}'a.wav'{NAMED}"),
    "quotes.csv": ('a.wav|one\nb.wav|so, "two" three\n', f"{DATA}'a.wav'{NAMED}, and {SEPARATE}"),
    "twice.tsv": ("a.wav\thi\thi\nb.wav\tho\tho\n", f"{DATA}'a.wav'{NAMED}"),
    "other.csv": ("path;text\na.wav;hi, you\n", f"its first line separates the names of columns by ';': {SEPARATE}"),
    "comma.tsv": ("path,text\na.wav,hi\n", f"its first line separates the names of columns by ',': {SEPARATE}"),
}


@pytest.mark.parametrize("name", HEADLESS)
def test_a_first_line_that_does_not_name_the_columns(tmp_path: Path, name: str) -> None:
    text, said = HEADLESS[name]
    with pytest.raises(InvalidArgument) as caught:
        read_rows(write(tmp_path, name, text))
    assert str(caught.value).startswith(f"{name}: {said}")
    assert ("--layout ljspeech with --one-subject NAME" in str(caught.value)) == (name == "metadata.csv")


def test_names_of_columns_that_are_not_known_are_no_data(tmp_path: Path) -> None:
    for header in ("clip,who", "clip of it,who", "who;what,clip"):
        with pytest.raises(InvalidArgument, match="no column names the audio file"):
            read_rows(write(tmp_path, "m.csv", f"{header}\na.wav,b\n"))
