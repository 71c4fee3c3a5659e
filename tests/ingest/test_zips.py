"""Sources in a zip, and chains that lead to no file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from securedata.ingest.sources.recordings import list_sources
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.sources.folders import column
from tests.kit.sources.recordings import some_clips


@pytest.mark.parametrize("folder", ["", "voices"])
@pytest.mark.parametrize("spelling", ["{}", "file://{}", "./all.zip", "all.zip"])
def test_from_a_zip_on_this_machine(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, folder: str, spelling: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("all.zip", "w") as archive:
        for one in some_clips():
            archive.writestr(f"{folder}/{one.path}".lstrip("/"), one.data)
        archive.writestr(f"{folder}/some.csv".lstrip("/"), f"path,speaker\n{some_clips()[0].path},ann\n")
    url = f"zip://{folder}::{spelling.format(tmp_path / 'all.zip')}"
    done = run("encrypt", url, tmp_path / "sealed", *PATTERN, "--json")
    assert done.code == 0, done.err
    assert done.json["added"] == 6
    sources = list_sources(url, manifest="some.csv", only_listed=True)
    assert column(sources, "path") == [some_clips()[0].path]


def test_a_chain_of_what_is_no_file_is_one_clear_line(tmp_path: Path, run: Run) -> None:
    for url in (f"zip://::{tmp_path}/no.zip", "zip://::nothing", "zip://::"):
        done = run("encrypt", url, tmp_path / "sealed", *PATTERN)
        assert done.code in (1, 2)
        assert done.err.count("\n") == 1
        assert not (tmp_path / "sealed").exists()
