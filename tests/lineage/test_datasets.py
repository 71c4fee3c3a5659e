"""`ds.lineage()`: every row that was open, of whom, and what it takes over; `save_lineage` beside a model."""

from __future__ import annotations

import copy
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from torch import multiprocessing
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

import securedata as sd
from securedata.corpus.opening import open_corpus
from securedata.corpus.schema import OTHER, columns_of
from securedata.corpus.writer import Writer
from securedata.errors import AlreadyExists, InvalidArgument, MalformedLineage
from securedata.keys.tags import Tagger
from securedata.lineage.record import Entry, Lineage
from tests.kit.cli.commandline import Run
from tests.kit.corpora.erasing import erase
from tests.kit.corpora.featured import make_features
from tests.kit.corpora.recorded import Root, add_clips, make_corpus, remove_paths
from tests.kit.counting_kms import Counted
from tests.kit.sources.recordings import clip


def names(root: Root, entry: Entry, *people: str) -> set[str]:
    """Those of the people whom an entry names, as a reader of the corpus finds out."""
    tagger = Tagger(Writer(root.reference).head.secret)
    tags = dict(zip(tagger.in_lineage(bytes.fromhex(entry.record), people), people, strict=True))
    assert set(entry.people) <= set(tags), "the entry names somebody else, too"
    return {tags[one] for one in entry.people}


def test_it_counts_the_open_rows_and_names_their_people_to_readers_only(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        found = ds.lineage()
        [entry] = found.entries
        assert (entry.corpus, entry.pin) == (ds.corpora[0].corpus_id.hex(), root.pin)
        assert (entry.generations, entry.filter, entry.purpose) == ((2, 2), (), None)
        assert entry.rows == 6
        assert entry.seconds == pytest.approx(sum(len(one.waveform[0]) / one.sample_rate for one in ds), abs=1e-3)
        assert (entry.record, found.complete) == (found.id, True)
        assert names(root, entry, "ann", "bob") == {"ann", "bob"}
        assert not any(word in found.text() + repr(found) for word in ("ann", "bob", "utt0"))
        assert not any(one in repr(found) for one in entry.people)


def test_two_records_share_no_tag(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        first, second = ds.lineage(), ds.lineage()
        assert first.id != second.id
        assert not set(first.entries[0].people) & set(second.entries[0].people)


def test_another_corpus_cannot_test_a_name(root: Root, tmp_path: Path) -> None:
    """The same person in two corpora has two tags: without the secret of the corpus a guess tells nothing."""
    other = make_corpus(tmp_path / "other", name="voice-b")
    with sd.EncryptedAudioDataset([root, other]) as ds:
        first, second = ds.lineage().entries
        assert first.record == second.record
        assert not set(first.people) & set(second.people)
        assert names(other, second, "ann", "bob") == {"ann", "bob"}
        with pytest.raises(AssertionError, match="somebody else"):
            names(other, first, "ann", "bob")


def test_rows_that_were_left_out_are_not_in_it(root: Root) -> None:
    with sd.EncryptedAudioDataset(root, speaker="ann", filter=pc.field("utterance") != "utt0") as ds:
        [entry] = ds.lineage().entries
        assert entry.rows == len(ds) == 2
        assert entry.filter == ("speaker", "utterance")
        assert names(root, entry, "ann", "bob") == {"ann"}


def test_the_purpose_is_in_it(tmp_path: Path) -> None:
    clips = [clip("ann/1.wav", 0.02, purposes=["asr"]), clip("bob/1.wav", 0.02, speaker="bob", purposes=["tts"])]
    root = make_corpus(tmp_path, clips)
    with sd.EncryptedAudioDataset(root, purpose="asr") as ds:
        [entry] = ds.lineage().entries
        assert (entry.purpose, entry.rows) == ("asr", 1)
        assert names(root, entry, "ann", "bob") == {"ann"}


def test_rows_that_a_refresh_took_away_stay_in_it(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        assert ds.corpora[0].generation == 2
        twin = copy.copy(ds)
        before = ds.lineage().entries[0]
        erase(root, "bob")
        add_clips(root, [clip("cid/1.wav", 0.5, speaker="cid")])
        assert ds.refresh()
        assert len(ds) == 4
        [entry] = ds.lineage().entries
        assert (entry.rows, entry.generations) == (7, (2, ds.corpora[0].generation))
        assert entry.seconds == pytest.approx(before.seconds + 0.5, abs=1e-3)
        assert names(root, entry, "ann", "bob", "cid") == {"ann", "bob", "cid"}
        assert twin.lineage().entries[0].rows == 7
        remove_paths(root, ["cid/1.wav"])
        assert ds.refresh()
        [entry] = ds.lineage().entries
        assert (entry.rows, entry.generations) == (7, (2, ds.corpora[0].generation))
    with sd.EncryptedAudioDataset(root) as ds:
        assert ds.lineage().entries[0].rows == 3


def test_a_row_that_comes_back_counts_once(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        [gone] = [one for one in root.clips if one.path == "ann/utt0.wav"]
        rows = Writer(root.reference)
        kept = pa.concat_tables([rows.read_table(part, None) for part in rows.head.parts])
        remove_paths(root, [gone.path])
        assert ds.refresh()
        Writer(root.reference).commit(add=kept.filter(pc.field("path") == gone.path))
        assert ds.refresh()
        assert len(ds) == 6
        assert ds.lineage().entries[0].rows == 6


def test_a_row_that_was_sealed_again_counts_once(root: Root, run: Run) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        assert run("rotate", root.name, "--data-keys").code == 0
        assert ds.refresh()
        assert ds.lineage().entries[0].rows == 6


def test_segments_of_one_recording_are_rows_of_their_own(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, [clip("ann/1.wav", 1.0, segments=[(0, 1000), (2000, 3000)])])
    with sd.EncryptedAudioDataset(root) as ds:
        assert len(ds) == 2
        remove_paths(root, [ds.get_metadata(0).path])
        assert ds.refresh()
        assert len(ds) == 1
        assert ds.lineage().entries[0].rows == 2


def test_datasets_of_datasets(root: Root, tmp_path: Path) -> None:
    class Own(Dataset[Any]):
        def __init__(self, inner: Dataset[Any]) -> None:
            self.inner = inner

    features = make_features(tmp_path)
    with sd.EncryptedAudioDataset(root) as ds, sd.EncryptedFeatureDataset(features) as other:
        two = [2, 2]
        for data in (
            [ds, other],
            ds + other.map(len),
            ConcatDataset([Subset(ds, range(2)), other]),  # type: ignore[list-item]  # another kind of sample
            Own(Own(ds + other)),
            [DataLoader(ds), {"b": DataLoader(other)}],
            [ds, ds.map(len), other],
        ):
            path = sd.save_lineage(data, tmp_path / "m.pt")
            entries = json.loads(Path(path).read_text())["entries"]
            assert [len(one["people"]) for one in entries] == [*two[:1], 3]
            assert [one["rows"] for one in entries] == [6, 4]
        for wrong in (len, [ds, len], [], "text", Own(Own(len))):  # type: ignore[arg-type]  # wrong on purpose
            with pytest.raises(InvalidArgument, match=r"sealed dataset|at least one dataset"):
                sd.save_lineage(wrong, tmp_path / "m.pt")


# ------------------------------------------------------------------------------------------- what it begins with


def test_it_takes_over_the_record_of_the_model_that_it_begins_with(root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path / "other", name="voice-b")
    with sd.EncryptedAudioDataset(other) as ds:
        sd.save_lineage(ds, tmp_path / "base.pt")
        record = ds.lineage()
    with sd.EncryptedAudioDataset(root) as ds:
        path = str(tmp_path / "base.pt")
        for base in (path, Path(path), f"{path}.lineage.json", json.loads(Path(f"{path}.lineage.json").read_text())):
            own, taken = ds.lineage(base).entries
            assert (own.pin, taken.pin) == (root.pin, other.pin)
            assert own.record != taken.record
            assert names(other, taken, "ann", "bob") == {"ann", "bob"}
        assert [one.pin for one in ds.lineage([path, record]).entries] == [root.pin, other.pin, other.pin]
        for wrong in (tmp_path / "no.pt", [tmp_path / "no.pt"]):
            with pytest.raises(InvalidArgument, match="has no lineage record beside it"):
                ds.lineage(wrong)
        with pytest.raises(MalformedLineage):
            ds.lineage({"format": "securedata lineage"})


def test_resuming_again_and_again_does_not_make_it_grow(root: Root, tmp_path: Path) -> None:
    model = tmp_path / "m.pt"
    with sd.EncryptedAudioDataset(root) as ds:
        sd.save_lineage(ds, model)
        for _ in range(3):
            sd.save_lineage(ds, model, base=model)
        assert len(ds.lineage(model).entries) == 1
    with sd.EncryptedAudioDataset(root, speaker="ann") as ds:  # other rows: both stay
        assert len(ds.lineage(model).entries) == 2
    erase(root, "bob")
    with sd.EncryptedAudioDataset(root) as ds:
        assert [one.rows for one in ds.lineage(model).entries] == [3, 6]


def test_a_start_without_a_record_is_said_and_stays_said(root: Root, tmp_path: Path) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        sd.save_lineage(ds, tmp_path / "m.pt", complete=False)
        assert not ds.lineage(tmp_path / "m.pt").complete


# ------------------------------------------------------------------------------------------- other processes


def test_a_worker_does_not_know_it(root: Root) -> None:
    with sd.EncryptedAudioDataset(root, map=None) as ds:
        loader = DataLoader(_Asking(ds), num_workers=1, batch_size=None)
        [said] = list(loader)
        assert said == "InvalidArgument"
        assert list(DataLoader(ds, num_workers=1, batch_size=2, collate_fn=len)) == [2, 2, 2]
        assert ds.lineage().entries[0].rows == 6


class _Asking(Dataset[str]):
    def __init__(self, ds: sd.EncryptedAudioDataset) -> None:
        self.ds = ds

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> str:
        try:
            self.ds.lineage()
        except InvalidArgument as error:
            return type(error).__name__
        return "a record"


def _save(ds: sd.EncryptedAudioDataset, model: str) -> None:
    sd.save_lineage(ds, model)


def test_a_process_that_is_started_with_it_goes_on(root: Root, tmp_path: Path) -> None:
    """As the ranks of a training are; it asks the KMS once for the secret, which no pickle holds."""
    with sd.EncryptedAudioDataset(root) as ds:
        erase(root, "bob")
        assert ds.refresh()
        for method in ("spawn", "fork"):
            child = multiprocessing.get_context(method).Process(target=_save, args=(ds, str(tmp_path / method)))
            child.start()
            child.join(120)
            assert child.exitcode == 0
            body = json.loads((tmp_path / f"{method}.lineage.json").read_text())
            found = body["entries"][0]
            assert (found["rows"], found["generations"]) == (6, [2, ds.corpora[0].generation])
        stored = pickle.dumps(ds)
        assert b"bob" not in stored
        again = pickle.loads(stored)
    with again:
        assert again.lineage().entries[0].rows == 3


def test_it_asks_the_kms_for_nothing(counted: Counted, tmp_path: Path) -> None:
    root = make_corpus(tmp_path, kms=counted.uri)
    with sd.EncryptedAudioDataset(root) as ds:
        before = len(counted.calls)
        ds.lineage()
        assert len(counted.calls) == before


# ------------------------------------------------------------------------------------------- files


def test_a_record_is_replaced_and_nothing_else_is(root: Root, tmp_path: Path) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        first = sd.save_lineage(ds, tmp_path / "m.pt")
        assert first == str(tmp_path / "m.pt.lineage.json")
        before = Path(first).read_text()
        assert sd.save_lineage(ds, str(tmp_path / "m.pt")) == first
        assert Path(first).read_text() != before
        Path(first).write_text('{"format": "something else"}')
        with pytest.raises(AlreadyExists, match="move it away"):
            sd.save_lineage(ds, tmp_path / "m.pt")
        assert Path(first).read_text() == '{"format": "something else"}'
        assert sorted(os.listdir(tmp_path)) == ["keys", "m.pt.lineage.json", "voice-a"]


def test_a_model_that_is_a_folder_has_its_record_in_it(root: Root, tmp_path: Path) -> None:
    (tmp_path / "checkpoint-5").mkdir()
    with sd.EncryptedAudioDataset(root) as ds:
        path = sd.save_lineage(ds, tmp_path / "checkpoint-5/")
        assert path == str(tmp_path / "checkpoint-5" / "securedata.lineage.json")
        os.symlink("checkpoint-5", tmp_path / "last")
        assert len(ds.lineage(tmp_path / "last").entries) == 1


def test_a_link_to_a_checkpoint_leads_to_its_record(root: Root, tmp_path: Path) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        (tmp_path / "step-5.ckpt").touch()
        sd.save_lineage(ds, tmp_path / "step-5.ckpt", complete=False)
        os.symlink("step-5.ckpt", tmp_path / "last.ckpt")
        assert not ds.lineage(tmp_path / "last.ckpt").complete


def test_on_other_storage(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        for _ in range(2):
            assert sd.save_lineage(ds, "memory://models/a/m.pt") == "memory://models/a/m.pt.lineage.json"
        import fsspec

        fs = fsspec.filesystem("memory")
        assert fs.find("/models") == ["/models/a/m.pt.lineage.json"]
        assert len(ds.lineage("memory://models/a/m.pt").entries) == 1
        fs.pipe_file("/models/a/other.pt.lineage.json", b"{}")
        with pytest.raises(AlreadyExists):
            sd.save_lineage(ds, "memory://models/a/other.pt")
        with pytest.raises(InvalidArgument):
            ds.lineage("memory://models/a/none.pt")
        fs.rm("/models", recursive=True)


# ------------------------------------------------------------------------------------------- filters


@pytest.mark.parametrize(
    ("filter", "columns"),
    [
        (None, ()),
        (pc.field("speaker") == "ann", ("speaker",)),
        (pc.field("split").isin(["a"]) & (pc.field("frames") > 3), ("frames", "split")),
        (pc.is_null(pc.field("origin")), ("origin",)),
        (pc.field("of-another") == 1, (OTHER,)),
        (pc.scalar(True), ()),
    ],
)
def test_the_columns_of_a_filter(filter: Any, columns: tuple[str, ...]) -> None:
    assert columns_of(filter) == columns


def test_a_million_rows_take_seconds_and_no_object_for_a_row(root: Root) -> None:
    from securedata.torch.opened import _names, _people

    many = 1_000_000
    table = pa.table(
        {
            "path": pa.array([f"{n}.wav" for n in range(10)] * (many // 10), pa.large_string()),
            "size": pa.array([7, 5] * (many // 2), pa.int64()),
            "subjects": pa.array([["ann"], ["bob", "cid"]] * (many // 2), pa.list_(pa.large_string())),
        }
    )
    assert sorted(_people(table).to_pylist()) == ["ann", "bob", "cid"]
    assert len(pc.unique(_names(table))) == 10


def test_the_corpus_says_how_its_rows_were_chosen(root: Root) -> None:
    with open_corpus(root, speakers="ann", purpose=None) as corpus:
        assert (corpus.filtered_by, corpus.purpose) == (("speaker",), None)


def test_a_lineage_is_a_value(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        found = ds.lineage()
    assert type(found) is Lineage is sd.Lineage
    assert pickle.loads(pickle.dumps(found)) == found
