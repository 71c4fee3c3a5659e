"""An old head that was put back is refused by readers: by what this machine, their pickle or they themselves saw."""

from __future__ import annotations

import logging
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.core import OpenFile
from fsspec.mapping import FSMap
from torch.utils.data import DataLoader

import securedata as sd
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.export.export import export
from securedata.corpus.home import state_dir
from securedata.corpus.state.seen import remember
from securedata.errors import AccessDenied, GenerationChanged, InvalidArgument, OlderGeneration, SecuredataError
from securedata.storage.base import Buffer
from securedata.storage.local import LocalStorage
from tests.kit.cli.commandline import runner
from tests.kit.corpora.contents import look, open_quietly
from tests.kit.corpora.harmed import put_back
from tests.kit.corpora.recorded import Root, add_clips, make_corpus
from tests.kit.corpora.rows import writer_of
from tests.kit.sources.recordings import clip

# ----------------------------------------------------------------------------------------------- what the machine saw


def test_what_this_machine_has_seen_is_refused_and_can_be_accepted_once(root: Root, reference: Reference) -> None:
    put_back(root)
    before = root.state_file.read_bytes()
    with pytest.raises(OlderGeneration, match=r"a copy or a backup of the corpus\?.*--accept-generation 2 ") as caught:
        open_quietly(reference)
    assert str(root) in str(caught.value)
    for wrong in (1, 3):
        with pytest.raises(InvalidArgument, match=f"generation 2, not {wrong}; it was not accepted"):
            open_quietly(reference, accept_generation=wrong)
    with open_quietly(reference, accept_generation=2) as corpus:
        assert len(corpus) == 1
        assert not corpus.refresh()
    with pytest.raises(OlderGeneration):
        open_quietly(reference)
    assert root.state_file.read_bytes() == before, "a reader writes nothing"


def test_a_machine_that_wrote_nothing_reads_on_with_one_warning_and_notes_nothing(
    root: Root, reference: Reference, elsewhere: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    put_back(root)
    elsewhere()
    with caplog.at_level(logging.WARNING, "securedata"):
        for _ in range(2):
            with open_quietly(reference) as corpus:
                assert corpus.generation == 2
    assert not state_dir().exists()
    [record] = caplog.records
    assert f"this machine has seen no head of {root} before" in record.getMessage()


def test_a_pickle_says_what_a_machine_has_not_seen(
    root: Root, elsewhere: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    with open_quietly(root.reference) as corpus:
        pickled = pickle.dumps(corpus)
    elsewhere()
    with caplog.at_level(logging.WARNING, "securedata"):
        pickle.loads(pickled).refresh()
    assert caplog.records == []


def test_a_dataset_and_export_refuse_it_and_accept_it(root: Root, tmp_path: Path) -> None:
    put_back(root)
    for act in (
        lambda: sd.EncryptedAudioDataset(root),
        lambda: export(root.reference, tmp_path / "out", allow_plaintext_export=True),
    ):
        with pytest.raises(OlderGeneration):
            act()
    assert not (tmp_path / "out").exists()
    with sd.EncryptedAudioDataset(root, accept_generation=2) as ds:
        assert len(ds) == 1
    assert export(root.reference, tmp_path / "out", allow_plaintext_export=True, accept_generation=2).written == 1


@pytest.mark.parametrize(
    "command", ["ls", "info", "info --config", "info --object 00000000000000000000000000000000", "export", "verify"]
)
def test_each_command_that_reads_refuses_it_and_accepts_it(
    root: Root, command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    put_back(root)
    before = root.state_file.read_bytes()
    name, *options = command.split()
    more = [str(tmp_path / "out"), "--allow-plaintext-export"] if name == "export" else []
    run = runner(capsys)
    refused = run(name, root, *more, *options)
    assert refused.code == 1
    assert "--accept-generation 2" in refused.err + refused.out
    accepted = run(name, root, *more, *options, "--accept-generation", 2)
    if "--object" in options:
        assert "no row" in accepted.error, "it was opened"
    else:
        assert accepted.code == 0, accepted.err
    assert run(name, root, *more, *options, "--accept-generation", 3).code == 2
    assert run(name, root, *more, *options).code == 1, "for that opening only"
    assert root.state_file.read_bytes() == before


def test_cat_refuses_it_and_accepts_it(root: Root) -> None:
    put_back(root)
    cat = [sys.executable, "-m", "securedata", "cat", str(root), "ann/0.wav"]
    refused = subprocess.run(cat, capture_output=True, check=False)
    assert refused.returncode == 1
    assert refused.stdout == b""
    accepted = subprocess.run([*cat, "--accept-generation", "2"], capture_output=True, check=True)
    assert accepted.stdout == root.clips[0].data


def test_a_filesystem_refuses_it_and_accepts_it(root: Root) -> None:
    put_back(root)
    with pytest.raises(OlderGeneration):
        fsspec.filesystem("securedata", root=str(root)).ls("")
    with pytest.raises(OlderGeneration):
        fsspec.filesystem("securedata").cat_file(f"{root.name}/ann/0.wav")
    for number in (2, "2"):  # text, where it comes from the environment
        accepting = fsspec.filesystem("securedata", root=str(root), accept_generation=number)
        assert accepting.cat_file("ann/0.wav") == root.clips[0].data
        assert pickle.loads(pickle.dumps(accepting)).cat_file("ann/0.wav") == root.clips[0].data
        accepting.invalidate_cache()
    with pytest.raises(OlderGeneration):
        fsspec.filesystem("securedata", root=str(root)).ls("")
    with pytest.raises(InvalidArgument, match="applies to one corpus"):
        fsspec.filesystem("securedata", accept_generation=2)


def _read(thing: Any, path: str) -> bytes:
    if isinstance(thing, OpenFile):
        with thing as file:
            return bytes(file.read())
    return bytes(thing["0.wav"] if isinstance(thing, FSMap) else thing.cat_file(path))


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("what", ["filesystem", "file to be opened", "mapper"])
def test_a_filesystem_s_pickle_says_what_a_machine_has_not_seen(
    what: str, named: bool, root: Root, elsewhere: Callable[[], None]
) -> None:
    elsewhere()
    options = {} if named else {"root": str(root)}
    fs = fsspec.filesystem("securedata", **options)
    path = f"{root.name}/ann/0.wav" if named else "ann/0.wav"
    assert fs.cat_file(path) == root.clips[0].data
    thing: Any = {"filesystem": fs, "file to be opened": OpenFile(fs, path), "mapper": fs.get_mapper(path[:-6])}[what]
    pickled = pickle.dumps(thing)
    for _ in range(2):  # the second one was pickled where nothing was opened
        fs.clear_instance_cache()  # as in a process that a tool started
        pickled = pickle.dumps(pickle.loads(pickled))
    assert _read(pickle.loads(pickled), path) == root.clips[0].data
    put_back(root)
    fs.clear_instance_cache()
    again = pickle.loads(pickled)
    with pytest.raises(OlderGeneration):
        _read(again, path)
    fs.clear_instance_cache()
    assert fsspec.filesystem("securedata", **options).cat_file(path) == root.clips[0].data


def test_a_dataset_of_several_corpora_accepts_each_by_itself(root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path, [clip("bob/0.wav", 0.1)], "voice-b")
    put_back(root)
    with sd.EncryptedAudioDataset([other, root], accept_generation=[None, 2]) as ds:
        assert len(ds) == 2
    for wrong in (2, "12", [2], [2, None]):
        with pytest.raises(SecuredataError):
            sd.EncryptedAudioDataset([other, root], accept_generation=wrong)


def test_a_copy_on_the_same_machine_is_asked_about(root: Root, tmp_path: Path) -> None:
    """A clone has the id of its original: what was seen of one holds for the other, unless it is accepted by hand."""
    storage = LocalStorage(str(root))
    clone = LocalStorage(str(tmp_path / "clone"))
    for entry in storage.list():
        clone.put_new(entry.key, [storage.get(entry.key)])
    copy = replace(root.reference, root=str(tmp_path / "clone"))
    assert len(open_quietly(copy)) == 2
    add_clips(root, [clip("ann/2.wav", 0.1, seed=2)])
    with pytest.raises(OlderGeneration, match="--accept-generation 3"):
        open_quietly(copy)
    assert len(open_quietly(copy, accept_generation=3)) == 2
    assert len(open_quietly(root.reference)) == 3


def test_a_job_on_a_copy_renews_its_keys_while_the_original_goes_on(root: Root, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "clone")
    with open_quietly(replace(root.reference, root=str(tmp_path / "clone")), ttl=0.01, kms_wait=0.0) as corpus:
        add_clips(root, [clip("ann/2.wav", 0.1, seed=2)])
        time.sleep(0.02)
        assert corpus.read("ann/1.wav")
        assert corpus.counters.unwraps == 2
        with pytest.raises(OlderGeneration):
            corpus.refresh()


def test_verify_reports_it_to_the_end_unless_it_is_accepted(root: Root) -> None:
    put_back(root)
    report = verify(root.reference)
    assert [one.error for one in report.findings] == ["OlderGeneration"]
    assert "--accept-generation 2" in report.findings[0].text
    assert report.objects_opened == 1
    assert verify(root.reference, accept_generation=2).ok


# ------------------------------------------------------------------------------------ what an opening has seen itself


class _Refusing(LocalStorage):
    """Objects are missing, or refused, which may mean the same."""

    error: type[SecuredataError]

    def get_ranges(self, key: str, ranges: Any) -> list[Buffer]:
        if key.startswith("objects/"):
            raise self.error(f"{key} of {self.url}", root=self.url)
        return list(super().get_ranges(key, ranges))


@pytest.mark.parametrize("error", [sd.errors.NotFound, AccessDenied])
def test_a_missing_object_is_explained_by_no_older_head(
    root: Root, error: type[SecuredataError], elsewhere: Callable[[], None]
) -> None:
    """The older head names other objects, so 'your row was replaced' would be what the attacker wants to be heard."""
    storage = _Refusing(str(root))
    storage.error = error
    elsewhere()
    with open_quietly(root.reference, storage) as corpus:
        put_back(root)
        with pytest.raises(OlderGeneration):
            corpus.read(0)


def test_what_an_explanation_has_seen_counts(root: Root, elsewhere: Callable[[], None]) -> None:
    elsewhere()
    with open_quietly(root.reference) as corpus:
        key = next(entry.key for entry in LocalStorage(str(root)).list("objects/"))
        (Path(root) / key).unlink()
        add_clips(root, [clip("ann/2.wav", 0.1, seed=2)])
        for i in range(2):
            try:
                corpus.read(i)
            except sd.errors.ObjectMissing:  # by a look at generation 4
                break
        put_back(root)
        root.state_file.unlink()
        with pytest.raises(OlderGeneration, match="4 was seen"):
            corpus.refresh()
        with pytest.raises(OlderGeneration, match="4 was seen"):
            pickle.loads(pickle.dumps(corpus))


@pytest.mark.parametrize("refresh", [True, False])
def test_a_pickle_refuses_what_it_has_outgrown(root: Root, refresh: bool, elsewhere: Callable[[], None]) -> None:
    with open_quietly(root.reference, refresh=refresh) as corpus:
        pickled = pickle.dumps(corpus)
    elsewhere()
    put_back(root)
    with pytest.raises(OlderGeneration, match="generation 2, but 3 was seen"):
        pickle.loads(pickled)


def test_a_pickle_with_refresh_takes_a_newer_head(root: Root) -> None:
    pickled = {refresh: pickle.dumps(open_quietly(root.reference, refresh=refresh)) for refresh in (True, False)}
    add_clips(root, [clip("ann/2.wav", 0.1, seed=2)])
    assert len(pickle.loads(pickled[True])) == 3
    with pytest.raises(GenerationChanged):
        pickle.loads(pickled[False])


def test_what_was_accepted_holds_for_pickles_and_their_refresh(root: Root) -> None:
    put_back(root)
    with open_quietly(root.reference, accept_generation=2, refresh=True) as corpus:
        pickled = pickle.dumps(corpus)
    again = pickle.loads(pickled)
    assert (again.generation, again.refresh()) == (2, False)
    assert pickle.loads(pickle.dumps(again)).generation == 2
    writer_of(root.reference, accept_generation=2).commit(settings={"x": 1})
    assert again.refresh()
    put_back(root)
    with pytest.raises(OlderGeneration, match="generation 2, but 3 was seen"):
        again.refresh()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_know_what_their_parent_has_seen(root: Root, start: str, elsewhere: Callable[[], None]) -> None:
    """Their grant ends at once, so that the first read of each renews it."""
    elsewhere()
    with sd.EncryptedAudioDataset(root, ttl=0.05, kms_wait=0.0) as ds:
        loader = DataLoader(ds, batch_size=1, num_workers=1, multiprocessing_context=start)
        put_back(root)
        time.sleep(0.1)
        with pytest.raises(OlderGeneration):
            list(loader)


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.full)])
def test_workers_of_an_accepted_corpus_renew(root: Root, start: str) -> None:
    put_back(root)
    with sd.EncryptedAudioDataset(root, ttl=0.05, kms_wait=0.0, accept_generation=2) as ds:
        loader = DataLoader(ds, batch_size=1, num_workers=1, multiprocessing_context=start)
        time.sleep(0.1)
        assert len(list(loader)) == 1


def test_the_state_of_another_corpus_does_not_matter(root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path, [], "voice-b")
    remember(replace(look(other.reference).head, generation=99))
    with open_quietly(replace(root.reference, pins=(*other.reference.pins, *root.reference.pins))) as corpus:
        assert corpus.generation == 3
        assert corpus.reference.pins == root.reference.pins, "what was opened is pinned from here on"
