"""What the drop-in corpora do beyond torchaudio's: parts, folders, workers, batches, options, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow.compute as pc
import pytest
import torch
from torch.utils.data import DataLoader

import securedata as sd
from securedata.errors import ConfigError, InvalidArgument
from tests.kit.sources import drop_ins


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A sealed LibriSpeech, named 'books'."""
    drop_ins.librispeech(tmp_path / "tree")
    sd.ingest(tmp_path / "tree", tmp_path / "books")
    return tmp_path / "books"


def test_every_spelling_of_the_root(books: Path) -> None:
    for root in ("books", "securedata://books", books, str(books), f"file://{books}"):
        assert len(sd.datasets.LIBRISPEECH(root, "dev-clean")) == 6


@pytest.mark.parametrize("part", ["LibriSpeech", "LibriSpeech/dev-clean", "LibriSpeech/dev-clean/84"])
def test_a_part_that_was_sealed_by_itself(tmp_path: Path, part: str) -> None:
    drop_ins.librispeech(tmp_path / "tree")
    sd.ingest(tmp_path / "tree" / part, tmp_path / "part")
    ds = sd.datasets.LIBRISPEECH("part", "dev-clean")
    assert ds.get_metadata(0)[:2] == ("dev-clean/84/121123/84-121123-0000.flac", 16_000)
    if part != "LibriSpeech":
        with pytest.raises(InvalidArgument, match="no recordings of train-clean-100"):
            sd.datasets.LIBRISPEECH("part")


def test_the_folder_that_is_asked_for(tmp_path: Path) -> None:
    drop_ins.librispeech(tmp_path / "tree/LibriSpeech")
    drop_ins.librispeech(tmp_path / "tree/Noisy")
    (tmp_path / "tree/Noisy/LibriSpeech").rename(tmp_path / "tree/Noisy/Loud")
    sd.ingest(tmp_path / "tree", tmp_path / "both")
    for folder in ("LibriSpeech", "Noisy", "Loud"):
        ds = sd.datasets.LIBRISPEECH("both", "dev-clean", folder)
        assert len(ds) == 6
        assert all(f"{folder}/" in path for path in ds.metadata.column("path").to_pylist())


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.full)])
def test_a_loader_with_workers(books: Path, method: str) -> None:
    ds = sd.datasets.LIBRISPEECH("books", "dev-clean")
    ds._walker = ds._walker[::-1]
    loader = DataLoader(ds, batch_size=4, num_workers=1, collate_fn=list, multiprocessing_context=method)
    found = [item for batch in loader for item in batch]
    assert ds.stats().samples == 6
    for n, item in enumerate(found):
        assert torch.equal(item[0], ds[n][0])
        assert item[1:] == ds[n][1:]


def test_pickles_open_the_corpus_again(books: Path) -> None:
    ds = sd.datasets.LIBRISPEECH("books", "dev-clean")
    again = pickle.loads(pickle.dumps(ds))
    assert [again.get_metadata(n) for n in range(6)] == [ds.get_metadata(n) for n in range(6)]
    ds._walker = ds._walker[:2]
    with pytest.raises(InvalidArgument, match="_walker"):
        pickle.dumps(ds)


def test_only_the_keys_of_its_rows(books: Path) -> None:
    ds = sd.datasets.LIBRISPEECH("books", "dev-clean", filter=pc.field("speaker") == "84")
    assert len(ds._audio) == len(ds) == 4
    assert ds.speakers == ["84"]
    assert list(ds.lengths) == [item[0].shape[1] for item in ds]
    assert ds.metadata.column("utterance").to_pylist() == ds._walker


def test_options_and_functions(books: Path) -> None:
    ds = sd.datasets.LIBRISPEECH("books", "dev-clean", sample_rate=8_000, transform=lambda w: w[:, :100])
    assert ds[0][0].shape == (1, 100)
    assert ds.get_metadata(0)[1] == ds[0][1] == 8_000
    assert ds.map(lambda item: item[3])[0] == 84
    assert len(ds + ds) == 12
    assert ds.lineage().entries[0].rows == 6


def test_a_refresh_sorts_again(books: Path, tmp_path: Path) -> None:
    ds = sd.datasets.LIBRISPEECH("books", "dev-clean", refresh=True)
    chosen = sd.datasets.LIBRISPEECH("books", "dev-clean")
    chosen._walker = chosen._walker[4:]
    sd.ingest(more(tmp_path), books)
    assert ds.refresh()
    assert ds._walker[0] == "1-2-0000"
    assert chosen.refresh()
    assert chosen._walker == ["9-12-0000", "9-12-0001"]


def more(folder: Path) -> Path:
    name = folder / "more/LibriSpeech/dev-clean/1/2/1-2-0000.flac"
    drop_ins._record(name, 77)
    name.with_name("1-2.trans.txt").write_text("1-2-0000 FIRST\n")
    return folder / "more"


def test_what_is_refused(books: Path) -> None:
    for arguments, said in (
        ({"download": True}, "download=True would write plaintext"),
        ({"url": "dev"}, "choose one of dev-clean"),
        ({"url": "test-clean"}, "books has no recordings of test-clean"),
        ({"url": "dev-clean", "filter": "speaker"}, "pyarrow expression"),
        ({"url": "dev-clean", "role": "nobody"}, "role"),
    ):
        with pytest.raises((InvalidArgument, ConfigError), match=said):
            sd.datasets.LIBRISPEECH("books", **arguments)
    with pytest.raises(ValueError, match="subset"):
        sd.datasets.SPEECHCOMMANDS("books", subset="train")
    with pytest.raises(InvalidArgument, match="no recordings of Speech Commands"):
        sd.datasets.SPEECHCOMMANDS("books")
    with pytest.raises(InvalidArgument, match="entry 1 of _walker"):
        sd.datasets.LIBRISPEECH("books", "dev-clean")._walker = ["84-7-0000", "1-1-1"]


def test_lists_that_were_not_sealed(tmp_path: Path) -> None:
    drop_ins.speech_commands(tmp_path / "tree")
    for name in ("validation_list.txt", "testing_list.txt"):
        (tmp_path / "tree/SpeechCommands/speech_commands_v0.02" / name).unlink()
    sd.ingest(tmp_path / "tree", tmp_path / "words")
    assert len(sd.datasets.SPEECHCOMMANDS("words")) == 12
    with pytest.raises(InvalidArgument, match="no recordings with the split testing"):
        sd.datasets.SPEECHCOMMANDS("words", subset="testing")


def test_nothing_is_fetched_for_metadata(books: Path) -> None:
    ds = sd.datasets.LIBRISPEECH("books", "dev-clean")
    for path in books.glob("objects/*/*"):
        path.unlink()
    assert [ds.get_metadata(n)[3] for n in range(6)] == [84, 84, 84, 84, 9, 9]


def test_its_repr_names_nobody(books: Path) -> None:
    assert repr(sd.datasets.LIBRISPEECH("books", "dev-clean")) == "<LIBRISPEECH of books: 6 recordings>"
    assert "not open" in repr(sd.datasets.LIBRISPEECH.__new__(sd.datasets.LIBRISPEECH))
