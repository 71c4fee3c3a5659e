"""A request for erasure that met a hold: the person's rows open for nobody, except for those who work on the case."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.corpus.reader import Corpus
from securedata.corpus.state.commit import Next
from securedata.corpus.state.head import Tombstone
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, NoSuchHold, NoSuchPath, SubjectRestricted
from securedata.keys.tags import Tagger
from securedata.lifecycle.holds.hold import add_hold, release_hold
from securedata.lifecycle.holds.restriction import restrict
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.corpora.recorded import Root


@pytest.fixture
def writer(root: Root) -> Writer:
    """Of a corpus in which ann is held for the case 7."""
    writer = Writer(root.reference)
    add_hold(writer, "ann", "7")
    return writer


def close(writer: Writer, name: str = "ann") -> None:
    restrict(writer, [Tagger(writer.head.secret).tag(name)], "R")


def paths(root: Root, person: str) -> set[str]:
    return {one.path for one in root.clips if one.speaker == person}


def opened(corpus: Corpus) -> set[str]:
    return set(corpus.table.column("path").to_pylist())


def test_the_rows_open_for_nobody_and_are_counted(
    root: Root, writer: Writer, run: Run, caplog: pytest.LogCaptureFixture, wavs: Path, tmp_path: Path
) -> None:
    ann, bob = paths(root, "ann"), paths(root, "bob")
    with sd.open_corpus(root) as corpus:
        assert opened(corpus) == ann | bob, "a hold alone restricts nothing"
    close(writer)
    with sd.open_corpus(root) as corpus:
        assert opened(corpus) == bob
        assert corpus.left_out.restricted == len(ann)
        with pytest.raises(NoSuchPath):
            corpus.read(min(ann))
    assert f"{len(ann)} restricted by a request for erasure that met a hold" in caplog.text
    dataset = sd.EncryptedAudioDataset(root)
    assert (len(dataset), dataset.stats().restricted) == (len(bob), len(ann))
    with pytest.raises(NoSuchPath):
        sd.load(f"securedata://{root.name}/{min(ann)}")
    assert run("cat", root.name, min(ann)).code == 1
    done = run("export", root.name, tmp_path / "out", "--allow-plaintext-export")
    assert (done.code, f"{len(ann)} restricted" in done.err) == (0, True)
    assert {str(one.relative_to(tmp_path / "out")) for one in (tmp_path / "out").rglob("*.*")} - {
        "manifest.jsonl"
    } == bob
    shown = run("info", root.name)
    assert f"{len(ann)} restricted by a request for erasure" in " ".join(shown.out.split())
    assert run("verify", root.name).code == 0, "which opens all objects, for nobody"
    # what is sealed already is not sealed again beside them
    done = run("encrypt", wavs, root.name, *PATTERN, "--dry-run", "--checksum", "--json")
    assert (done.json["added"], len(done.json["recordings"])) == (0, done.json["unchanged"] + done.json["updated"])


def test_those_who_work_on_the_case_get_them(root: Root, writer: Writer, run: Run, tmp_path: Path) -> None:
    close(writer)
    out = tmp_path / "out"
    export = ("export", root.name, out, "--held", "7")
    done = run(*export)
    assert (done.code, "--allow-plaintext-export" in done.error) == (1, True)
    assert run(*export, "--allow-plaintext-export").code == 0
    wanted = {one.path: one.data for one in root.clips if one.speaker == "ann"}
    found = {str(one.relative_to(out)): one.read_bytes() for one in out.rglob("*.*") if one.name != "manifest.jsonl"}
    assert found == wanted
    done = run("export", root.name, out, "--held", "8", "--allow-plaintext-export")
    assert (done.code, "case 8 holds nobody" in done.error) == (1, True)
    done = run(*export, "--purpose", "asr", "--allow-plaintext-export")
    assert (done.code, "leave out purpose=" in done.err) == (2, True)
    release_hold(writer, "7", subject="ann")
    with pytest.raises(NoSuchHold):
        sd.export(root, out, held="7", allow_plaintext_export=True)
    with pytest.raises(InvalidArgument, match="held="):
        sd.export(root, out, held=7, allow_plaintext_export=True)  # type: ignore[arg-type]  # as a caller may
    with sd.open_corpus(root) as corpus:
        assert opened(corpus) == paths(root, "bob"), "the end of the hold does not open them"
    release_hold(writer, "7", subject="ann", keep=True)
    with sd.open_corpus(root) as corpus:
        assert len(corpus) == len(root.clips)


# ------------------------------------------------------------------------------------------------ rows that were open


def renew(corpus: Corpus) -> None:
    lease = corpus.snapshot.lease
    lease.take(lease._renew(lease.grant))


def closed(corpus: Corpus) -> dict[str, str]:
    """By path, the names of the errors of reading the rows one by one and together."""
    found = {}
    rows = range(len(corpus))
    together = dict(corpus.read_many([sd_piece(i) for i in rows]))
    for i in rows:
        error = together[i]
        if isinstance(error, bytearray):
            assert corpus.read(i) == error
            continue
        with pytest.raises(type(error)):
            corpus.read(i)
        path = corpus.value("path", i)
        assert (error.path, path in str(error)) == (path, False)
        found[path] = type(error).__name__
    return found


def sd_piece(i: int) -> object:
    from securedata.corpus.objects.fetch import Piece

    return Piece(i, 0, None)


def test_open_rows_close_at_the_renewal(root: Root, writer: Writer) -> None:
    ann = paths(root, "ann")
    with sd.open_corpus(root) as corpus:
        assert corpus.index.first_end == math.inf, "reading costs nothing more"
        file = corpus.open(min(ann))
        assert file.read(10)
        close(writer)
        assert closed(corpus) == {}, "until the keys are renewed"
        renew(corpus)
        assert closed(corpus) == dict.fromkeys(ann, "SubjectRestricted")
        with pytest.raises(SubjectRestricted):
            corpus.open(min(ann)).read()
        copy = corpus.index.__reduce__()
        assert copy[0](*copy[1]).restricted == corpus.index.restricted, "as a spawned worker gets it"
        release_hold(writer, "7", subject="ann", keep=True)
        renew(corpus)
        assert closed(corpus) == {}, "they open again when the restriction is lifted"
        add_hold(writer, "ann", "8")
        close(writer)
        other = corpus.open(min(ann))
        corpus.refresh()
        assert opened(corpus) == paths(root, "bob")
        with pytest.raises(SubjectRestricted):
            other.read()


def test_open_rows_of_an_erased_person_close_at_the_renewal(root: Root, writer: Writer) -> None:
    tag = Tagger(writer.head.secret).tag("bob")
    with sd.open_corpus(root) as corpus:
        writer.transact(lambda attempt: Next(None, {"tombstones": (Tombstone(tag, attempt.head.generation + 1),)}))
        renew(corpus)
        assert closed(corpus) == dict.fromkeys(paths(root, "bob"), "SubjectErased")


@pytest.mark.parametrize("gone", ["raise", "skip"])
def test_a_training_hears_of_it_or_goes_on(root: Root, writer: Writer, gone: str) -> None:
    dataset = sd.EncryptedAudioDataset(root, on_gone=gone)
    close(writer)
    renew(dataset.corpora[0])
    loader = DataLoader(dataset, 2, num_workers=1, collate_fn=list)
    if gone == "raise":
        with pytest.raises(SubjectRestricted):
            list(loader)
    else:
        speakers = [sample.speaker for batch in loader for sample in batch]
        assert speakers.count("bob") >= len(paths(root, "bob"))
        assert "ann" not in speakers
    pickle.loads(pickle.dumps(SubjectRestricted("x")))
