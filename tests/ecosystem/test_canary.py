"""docs/plaintext.md: what each tool leaves on a disk, as it is and with the setting of the page.

A line of the page that says that a tool writes is tested too: if the tool stops, the page must say so.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.dataframe
import datasets
import duckdb
import fsspec
import numpy as np
import pandas
import pytest
import torch
import webdataset
from torch.utils.data import DataLoader
from upath import UPath

import securedata as sd
from securedata.errors import PlaintextRefused
from tests.ecosystem.canary import WORD, Places, places
from tests.kit.docs.tree import ROOT

__all__ = ["places"]  # the fixture

WAV, TABLE, SHARD = "securedata://voice-a/ann/0.wav", "securedata://files/words.parquet", "securedata://files/000.tar"
Tool = Callable[[], Any]


def hf_map() -> Any:
    ds = sd.to_hf("voice-a").map(lambda one: {"copy": one["audio"]["array"]}).filter(lambda one: True).shuffle(seed=1)
    return ds.map(lambda batch: {"again": [len(one) for one in batch["copy"]]}, batched=True, num_proc=2)["copy"]


def hf_stream() -> Any:
    return [one["audio"]["array"] for one in sd.to_hf("voice-a", streaming=True).shuffle(seed=1, buffer_size=10)]


def hf_workers() -> Any:
    loader = DataLoader(sd.to_hf("voice-a"), 2, num_workers=2, collate_fn=lambda rows: rows)
    return [one["audio"]["array"] for rows in loader for one in rows]


def hf_load(streaming: bool) -> Any:
    return list(datasets.load_dataset("parquet", data_files=TABLE, split="train", streaming=streaming))


def hf_generator() -> Any:
    rows = sd.to_hf("voice-a")
    return len(datasets.Dataset.from_generator(lambda: ({"array": one["audio"]["array"]} for one in rows)))


def torch_workers() -> Any:
    return [
        batch.waveform.sum()
        for batch in DataLoader(sd.EncryptedAudioDataset("voice-a"), 2, num_workers=2, collate_fn=sd.pad_collate)
    ]


def lhotse_cuts() -> Any:
    cuts = sd.lhotse.BatchLoader()(sd.lhotse.cuts("voice-a"))
    return [cut.load_audio() for cut in [*cuts, *sd.lhotse.cuts("voice-a")]]


def lhotse_save() -> Any:
    return next(iter(sd.lhotse.cuts("voice-a"))).save_audio("out.wav")


def wds(**options: Any) -> Any:
    sd.webdataset.register()
    return list(webdataset.WebDataset(SHARD, shardshuffle=False, **options).decode())


def duck(**config: Any) -> Any:
    database = duckdb.connect(config={"memory_limit": "32MB", "threads": 1, **config})
    database.register_filesystem(fsspec.filesystem("securedata"))
    database.execute(f"create table big as select word || i as word from '{TABLE}', range(700000) numbers(i)")
    return database, database.execute("select word from big order by hash(word), word")  # held: it deletes its files


def duck_in_memory() -> Any:
    with pytest.raises(duckdb.OutOfMemoryException) as caught:
        duck(temp_directory="")
    return caught


def tables() -> Any:
    frame = dask.dataframe.read_parquet(TABLE).compute(scheduler="threads")
    return frame, pandas.read_csv("securedata://files/words.csv"), duckdb.connect().sql("select 1").fetchall()


def read_by_path() -> Any:
    return UPath(WAV).read_bytes(), UPath(TABLE).open("rb").read()


def chained(kind: str) -> Any:
    with fsspec.open(f"{kind}::{WAV}") as file:
        return file.read()


def notebook_audio() -> Any:
    import IPython.display
    import nbformat

    shown = IPython.display.Audio(data=fsspec.filesystem("securedata").cat_file(WAV))
    cell = nbformat.v4.new_code_cell(
        outputs=[nbformat.v4.new_output("display_data", {"text/html": shown._repr_html_()})]
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), "shown.ipynb")


CLEAN: dict[str, Tool] = {
    "to_hf": hf_map,
    "to_hf(streaming=True)": hf_stream,
    "to_hf with workers": hf_workers,
    "load_dataset(streaming=True)": lambda: hf_load(True),
    "EncryptedAudioDataset with workers": torch_workers,
    "lhotse": lhotse_cuts,
    "webdataset": wds,
    "duckdb with temp_directory=''": duck_in_memory,
    "pandas, dask": tables,
    "UPath": read_by_path,
}
"""What leaves nothing."""

REFUSED: dict[str, Tool] = {
    "load_dataset": lambda: hf_load(False),
    "to_hf(...).to_parquet": lambda: sd.to_hf("voice-a").to_parquet("out.parquet"),
    "to_hf(...).save_to_disk": lambda: sd.to_hf("voice-a").save_to_disk("out"),
    "to_hf(...).map(cache_file_name=)": lambda: sd.to_hf("voice-a").map(lambda one: one, cache_file_name="out.arrow"),
    "webdataset cache_dir": lambda: wds(cache_dir="."),
    "UPath.copy": lambda: UPath(WAV).copy("copy.wav"),
    "UPath.copy_into": lambda: UPath(WAV).copy_into(UPath(".")),
    "UPath.move": lambda: UPath(WAV).move(UPath("moved.wav")),
    "fs.get": lambda: fsspec.filesystem("securedata").get(WAV, "copy.wav"),
    "simplecache::": lambda: chained("simplecache"),
    "filecache::": lambda: chained("filecache"),
    "blockcache::": lambda: chained("blockcache"),
    "cache_type='mmap'": lambda: fsspec.filesystem("securedata").open(WAV, cache_type="mmap"),
}
"""What raises PlaintextRefused, and leaves nothing."""

WRITES: dict[str, Tool] = {
    "Dataset.from_generator": hf_generator,
    "to_hf(..., allow_plaintext_export=True)": lambda: sd.to_hf("voice-a", allow_plaintext_export=True).to_json(
        "out.json"
    ),
    "lhotse save_audio": lhotse_save,
    "pandas.to_csv": lambda: pandas.read_parquet(TABLE).to_csv("out.csv"),
    "numpy.save": lambda: np.save("out.npy", sd.load(WAV)[0].numpy()),
}
"""What we cannot refuse: it leaves marks. docs/plaintext.md has the setting, or says that there is none."""


@pytest.mark.parametrize("name", CLEAN)
def test_leaves_nothing(places: Places, name: str) -> None:
    kept = CLEAN[name]()  # while it is still held
    assert kept is not None
    assert places.found() == {}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(places: Places, name: str) -> None:
    with pytest.raises(PlaintextRefused):
        REFUSED[name]()
    assert places.found() == {}


@pytest.mark.parametrize("streaming", [False, True], ids=["map", "stream"])
def test_a_hub_is_not_asked(places: Places, monkeypatch: pytest.MonkeyPatch, streaming: bool) -> None:
    """`push_to_hub` is refused before a connection is made."""
    asked: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: asked.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: asked.append(address))
    made = sd.to_hf("voice-a", streaming=streaming)
    for one in (made, made.map(lambda row: row, remove_columns="audio"), datasets.concatenate_datasets([made, made])):
        with pytest.raises(PlaintextRefused):
            one.push_to_hub("somebody/voices", token="hf_none")
    assert asked == []
    assert places.found() == {}


@pytest.mark.parametrize("name", WRITES)
def test_writes(places: Places, name: str) -> None:
    kept = WRITES[name]()
    found = places.found()
    del kept
    assert found, "it leaves nothing any more: docs/plaintext.md says that it does"


def test_duckdb_spills(places: Places) -> None:
    """Its files are compressed, so that marks are found in some of them only: any file is one too many."""
    held = duck()
    assert [path for path in Path(".tmp").rglob("*") if path.stat().st_size]
    del held


@pytest.mark.parametrize(("strategy", "left"), [("file_descriptor", False), ("file_system", True)])
def test_tensors_of_workers(places: Places, strategy: str, left: bool) -> None:
    """While a batch is held: what a process that is killed then would leave."""
    before = torch.multiprocessing.get_sharing_strategy()
    torch.multiprocessing.set_sharing_strategy(strategy)
    try:
        ds = sd.EncryptedAudioDataset("voice-a")
        held = list(DataLoader(ds, 2, num_workers=1, collate_fn=sd.pad_collate))
        assert ("float32" in places.found()) == left
        del held
    finally:
        torch.multiprocessing.set_sharing_strategy(before)


def test_a_notebook_holds_what_it_plays(places: Places) -> None:
    notebook_audio()
    text = Path("shown.ipynb").read_text()
    assert "base64," in text


def test_every_tool_is_on_the_page() -> None:
    page = (ROOT / "docs/plaintext.md").read_text(encoding="utf-8")
    assert [
        name
        for name in (*CLEAN, *REFUSED, *WRITES, "torch sharing by file_system", "duckdb")
        if f"`{name}`" not in page
    ] == []
    assert re.findall(WORD, page) == []
