"""An interpreter that ends says nothing of what a script left open at module level, in main and in workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.corpora.recorded import make_corpus
from tests.kit.sources.recordings import clip

SCRIPT = """\
import codecs
import sys
import warnings

warnings.simplefilter("ignore")
import fsspec
from torch.utils.data import DataLoader

import securedata as sd
from securedata.corpus.config import resolve
from securedata.corpus.writer import Writer

ds = sd.EncryptedAudioDataset(NAME)
corpus = sd.open_corpus(NAME)
fs = fsspec.filesystem("securedata", root=NAME)
file = fs.open("ann/0.wav")
file.read(3)
writer = Writer(resolve(NAME))
codecs.kept = sys.modules["__main__"]  # a module that outlives ours keeps the script, as dill does
if __name__ == "__main__":
    loader = DataLoader(ds, batch_size=1, num_workers=1, multiprocessing_context=sys.argv[1])
    batches = iter(loader)  # an iterator is part of a cycle, which is collected last
    print(len(list(batches)))
"""


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.full)])
def test_the_end_is_silent(method: str, tmp_path: Path) -> None:
    root = make_corpus(tmp_path / "sealed", [clip(f"ann/{n}.wav", 0.1, seed=n) for n in range(4)])
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("NAME", repr(root.name)))
    done = subprocess.run([sys.executable, script, method], cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")
