"""torchrun itself: of two ranks that train one is killed with -9, and three go on: every recording comes once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.corpora.recorded import make_corpus
from tests.kit.docs.tree import ROOT
from tests.kit.sources.recordings import clip

NAMES = sorted(f"u{n:02}" for n in range(42))  # two ranks take 18 in three steps; three ranks share 24

TRAIN = """
import json, os, signal, sys
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

import securedata as sd

root, folder, dies_at = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
distributed.init_process_group("gloo")
rank, ranks = distributed.get_rank(), distributed.get_world_size()
torch.manual_seed(0)
model = DistributedDataParallel(torch.nn.Linear(1, 1))
stream = sd.EncryptedAudioStream(root, seed=3)
saved = folder / "state.json"
if saved.exists():
    stream.load_state_dict(json.loads(saved.read_text()))
states = [None] * ranks
distributed.all_gather_object(states, stream.state_dict())
if any(state != states[0] for state in states):
    sys.exit("the corpus changed while the ranks opened it: start again")
loader = DataLoader(stream, batch_size=3, num_workers=1, collate_fn=sd.pad_collate)
for step, batch in enumerate(loader, 1):
    if rank == 1 and step == dies_at:
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"{ranks}-{rank}-{step}").write_text(json.dumps(batch.utterance))
    model(batch.waveform.mean((1, 2)).unsqueeze(1)).sum().backward()  # waits for the other ranks
    if rank == 0:
        saved.with_suffix(".new").write_text(json.dumps(stream.state_dict(loader, step)))
        saved.with_suffix(".new").rename(saved)
    distributed.barrier()
distributed.destroy_process_group()
"""


def torchrun(ranks: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=ROOT, env=env, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.mark.full  # seven processes import torch: 40 s of CPU
def test_torchrun_goes_on_with_three_ranks_after_one_of_two_was_killed(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, [clip(f"{name}.wav", 0.02) for name in NAMES])
    script, folder = tmp_path / "train.py", tmp_path / "run"
    script.write_text(TRAIN)
    folder.mkdir()
    killed = torchrun(2, script, root, folder, 4)
    assert killed.returncode, killed.stderr
    assert "SIGKILL" in killed.stderr or "exitcode" in killed.stderr, killed.stderr
    state = json.loads((folder / "state.json").read_text())
    assert state["runs"] == [[2, 1, 3, 3]]
    rest = torchrun(3, script, root, folder, 0)
    assert rest.returncode == 0, rest.stderr
    counted = [path for path in folder.glob("?-?-*") if path.name[0] == "3" or int(path.name.split("-")[2]) <= 3]
    heard = [name for path in counted for name in json.loads(path.read_text())]
    assert sorted(heard) == NAMES
    assert json.loads((folder / "state.json").read_text())["runs"] == [[2, 1, 3, 3], [3, 1, 3, 3]]
