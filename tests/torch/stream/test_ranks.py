"""Ranks and workers that are killed with -9 in the middle of an epoch: from the last state, each recording once."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import distributed, multiprocessing
from torch.utils.data import DataLoader

import securedata as sd
from securedata.errors import GenerationChanged
from tests.kit.corpora.recorded import Root, add_clips, make_corpus
from tests.kit.sources.recordings import clip

MANY = 40
NAMES = sorted(f"u{n:02}" for n in range(MANY))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, [clip(f"{name}.wav", 0.02) for name in NAMES])


def utterances(samples: list[sd.Sample]) -> list[str]:
    """A collate_fn."""
    return [sample.utterance for sample in samples]


def test_killed_worker_ends_the_loop_and_the_state_goes_on(root: Root) -> None:
    with sd.EncryptedAudioStream(root) as stream:
        loader = DataLoader(stream, batch_size=3, num_workers=2, multiprocessing_context="fork", collate_fn=utterances)
        running: Iterator[list[str]] = iter(loader)
        heard = next(running) + next(running)
        state = stream.state_dict(loader, 2)
        for worker in running._workers:  # type: ignore[attr-defined]  # whom to kill
            os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(RuntimeError, match=r"exited unexpectedly|killed by signal"):
            list(running)
    with sd.EncryptedAudioStream(root) as stream:
        stream.load_state_dict(state)
        assert sorted(heard + [sample.utterance for sample in stream]) == NAMES


def _train(rank: int, ranks: int, root: str, folder: str, dies_at: int) -> None:
    """One rank: writes what it was given at each step, and rank 0 the state; rank 1 is killed at a step."""
    faulthandler.dump_traceback_later(150, exit=True)
    meeting = f"file://{folder}/meeting-{ranks}"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=ranks)
    saved = Path(folder, "state")
    with sd.EncryptedAudioStream(root) as stream:
        if saved.exists():
            stream.load_state_dict(json.loads(saved.read_text()))
        loader = DataLoader(stream, batch_size=3, num_workers=2, multiprocessing_context="fork", collate_fn=utterances)
        for step, names in enumerate(loader, 1):
            if rank == 1 and step == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            Path(folder, f"{ranks}-{rank}-{step}").write_text(json.dumps(names))
            try:
                distributed.barrier()
            except RuntimeError:  # the other one is gone
                os._exit(9)
            if rank == 0 and dies_at:
                saved.with_suffix(".new").write_text(json.dumps(stream.state_dict(loader, step)))
                saved.with_suffix(".new").rename(saved)
            distributed.barrier()
    distributed.destroy_process_group()


def _given(folder: Path, ranks: int, steps: int) -> list[str]:
    files = [path for path in folder.glob(f"{ranks}-*") if int(path.name.rsplit("-", 1)[1]) <= steps]
    return [name for path in files for name in json.loads(path.read_text())]


def test_two_ranks_of_which_one_is_killed_go_on_as_three(root: Root, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(multiprocessing.ProcessExitedException):
        multiprocessing.start_processes(_train, (2, str(root), str(folder), 4), nprocs=2, start_method="fork")
    state = json.loads((folder / "state").read_text())
    assert state["runs"] == [[2, 2, 3, 3]]
    multiprocessing.start_processes(_train, (3, str(root), str(folder), 0), nprocs=3, start_method="fork")
    heard = _given(folder, 2, 3) + _given(folder, 3, 10**6)
    assert sorted(set(heard)) == NAMES
    assert len(heard) <= MANY + 2  # 22 rows of three ranks are filled up to 24


def test_ranks_between_whose_openings_a_commit_came_have_other_states(root: Root) -> None:
    with sd.EncryptedAudioStream(root, rank=0, world=2) as first:
        add_clips(root, [clip("later.wav", 0.02)])
        for refresh in (False, True):
            with sd.EncryptedAudioStream(root, rank=1, world=2, refresh=refresh) as second:
                assert second.state_dict() != first.state_dict()
                if refresh:  # it takes the state of the other rank to its own generation, so that they differ still
                    second.load_state_dict(first.state_dict())
                    assert second.state_dict() != first.state_dict()
                else:
                    with pytest.raises(GenerationChanged):
                        second.load_state_dict(first.state_dict())
