"""The notebook runs, its results are right, and neither the committed file nor a saved run of it holds a recording."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib.image
import nbformat
import numpy as np
import pytest
import soundfile
from IPython.display import Audio
from nbclient import NotebookClient

from tests.kit.cli.process import output_of
from tests.kit.docs.tree import ROOT

SECUREDATA = [sys.executable, "-m", "securedata"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# Runs in the notebook's own process, after its cells.
CHECK = """\
import json

wave, rate = soundfile.read(here / "wavs" / path, dtype="float32")
again = few[0]
bands = log_mel(torch.sin(2 * torch.pi * 1000 * torch.arange(RATE) / RATE), RATE)
print(json.dumps({
    "rows": len(ds),
    "speakers": sorted(set(ds.speakers)),
    "few": [few.get_metadata(i)[0] for i in range(len(few))],
    "same": [same.get_metadata(i)[0] for i in range(len(same))],
    "transcript": again.transcript,
    "exact": bool((again.waveform[0].numpy() == wave).all()) and rate == again.sample_rate,
    "mel": list(log_mel(again.waveform[0], rate).shape),
    "frames": again.waveform.shape[1],
    "loudest_band_of_1_kHz": int(bands.mean(1).argmax()),
    "seconds": dict(zip(*[per_speaker.column(name).to_pylist() for name in ("speaker", "frames_sum")])),
    "plain": sorted(str(p.relative_to(here)) for p in here.rglob("*") if p.suffix == ".wav"),
    "home": sorted(p.name for p in Path.home().rglob("config.toml")),
}))
"""


def _text(cell: Any) -> str:
    return "".join(output.get("text", "") for output in cell.get("outputs", []))


def _sound(notebook: Any) -> list[str]:
    """Outputs that hold audio, by their type or in their HTML."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for kind, data in output.get("data", {}).items():
                if kind.startswith(("audio/", "video/")) or "<audio" in data or "data:audio" in data:
                    found.append(kind)
    return found


def _run(notebook: Any, folder: Path) -> str:
    """Runs all cells and saves the notebook, as Jupyter does; returns the text of the saved file."""
    NotebookClient(notebook, timeout=150, resources={"metadata": {"path": str(folder)}}).execute()
    saved = folder / "saved.ipynb"
    nbformat.write(notebook, saved)
    return saved.read_text(encoding="utf-8")


def test_there_is_a_notebook() -> None:
    assert [path.name for path in NOTEBOOKS] == ["explore.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_committed_file_holds_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) > 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    assert "LISTEN = False" in cells[0].source
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for warning in ("IPython.display.Audio", "checkpoints", "collaboration", "Out[]"):
        assert warning in text


@pytest.mark.timeout(180)
def test_explore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND")  # a kernel draws into the notebook unless told otherwise
    notebook = nbformat.read(ROOT / "notebooks" / "explore.ipynb", as_version=4)
    shown = len(notebook.cells)
    # before the last cell, which puts things away
    notebook.cells.insert(shown - 1, nbformat.v4.new_code_cell(CHECK))
    saved = _run(notebook, tmp_path)

    results = json.loads(_text(notebook.cells[shown - 1]))
    seconds = [1.0 + 0.25 * n for n in range(6)]
    short = [f"ann/utt{n}.wav" for n in range(3)]
    assert results["rows"] == 12
    assert results["speakers"] == ["ann", "bob"]
    assert sorted(results["few"]) == sorted(results["same"]) == short
    assert results["exact"] is True
    assert results["transcript"] == f"sentence number {results['few'][0][-5]}"
    assert results["mel"] == [80, results["frames"] // 160 + 1]
    # 1 kHz is at 1000 mel (HTK); 80 bands between 0 and 2840 mel
    assert results["loudest_band_of_1_kHz"] == round(1000 / 2840 * 81) - 1
    assert results["seconds"] == {"ann": sum(seconds) * 16_000, "bob": sum(seconds) * 16_000}
    assert len(results["plain"]) == 12  # the sources that were invented, and nothing that was decrypted
    assert results["home"] == []  # the reader's own config is left alone

    printed = "\n".join(_text(cell) for cell in notebook.cells[:shown])
    assert "<EncryptedAudioDataset of explore: 12 recordings>" in printed
    assert "12 rows; 3 of one speaker and at most 1.63 seconds; 3 by an expression" in printed
    assert "b'RIFF' 1000 bytes of the end, of" in printed
    assert "not played: LISTEN is False" in printed
    pictures = [
        output.data["image/png"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    (picture,) = [matplotlib.image.imread(io.BytesIO(base64.b64decode(data))) for data in pictures]
    assert picture.shape[0] > 300
    assert picture.shape[1] > 500
    assert np.ptp(picture[..., :3]) > 0.5

    assert _sound(notebook) == []
    assert "audio/" not in saved
    assert "<audio" not in saved


@pytest.mark.full
@pytest.mark.parametrize("corpus", ["./sealed", "short", "empty"])
@pytest.mark.timeout(180)
def test_explore_takes_any_corpus(corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND")  # as above
    wavs, sealed = tmp_path / "wavs", tmp_path / corpus
    if corpus == "empty":
        output_of([*SECUREDATA, "init", sealed, "--name", corpus], tmp_path)
    else:
        # shorter than a window of the spectrogram; two channels at a rate that needs other windows
        rate, frames = (8_000, 150) if corpus == "short" else (44_100, 30_000)
        for speaker in ("x", "y"):
            (wavs / speaker).mkdir(parents=True)
            sound = np.random.default_rng(1).uniform(-0.5, 0.5, (frames, 2))
            soundfile.write(wavs / speaker / "a.wav", sound, rate)
        name = ["--name", corpus] if corpus == "short" else []
        pattern = ["--speaker-pattern", "{speaker}/{utterance}"]
        output_of([*SECUREDATA, "encrypt", wavs, sealed, *name, *pattern], tmp_path)
    notebook = nbformat.read(ROOT / "notebooks" / "explore.ipynb", as_version=4)
    notebook.cells[1].source = notebook.cells[1].source.replace('CORPUS = ""', f'CORPUS = "{corpus}"')
    _run(notebook, tmp_path)
    printed = "\n".join(_text(cell) for cell in notebook.cells)
    pictures = [one for cell in notebook.cells for one in cell.get("outputs", []) if "image/png" in one.get("data", {})]
    if corpus == "empty":
        assert "0 rows" in printed
        assert pictures == []
    else:
        assert "2 rows; 1 of one speaker" in printed
        assert "b'RIFF'" in printed
        assert len(pictures) == 1


def test_the_detector_finds_what_the_player_saves(tmp_path: Path) -> None:
    # what the warning in the notebook is about
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, 8000).astype(np.float32)
    player = Audio(samples, rate=8000)
    output = nbformat.v4.new_output("display_data", {"text/html": player._repr_html_(), "text/plain": repr(player)})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("play()", outputs=[output])])
    assert _sound(notebook) == ["text/html"]
    saved = tmp_path / "saved.ipynb"
    nbformat.write(notebook, saved)
    encoded = json.loads(saved.read_text())["cells"][0]["outputs"][0]["data"]["text/html"]
    data = "".join(encoded).split("base64,")[1].split('"')[0]
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="float32")
    assert rate == 8000
    assert np.corrcoef(heard, samples)[0, 1] > 0.99
