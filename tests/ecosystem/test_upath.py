"""universal_pathlib: paths over a corpus, read and written as those of pathlib."""

from __future__ import annotations

import importlib
import pickle
import tomllib
import warnings
from pathlib import Path

import pytest
from upath import UPath
from upath.registry import register_implementation

from securedata.errors import PlaintextRefused
from tests.kit.corpora import rows
from tests.kit.docs.tree import ROOT


@pytest.fixture
def top(tmp_path: Path) -> UPath:
    """The corpus `voice-a` as a path that may be written, of the class that the entry point names."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    module, _, name = points["universal_pathlib.implementations"]["securedata"].partition(":")
    register_implementation("securedata", getattr(importlib.import_module(module), name), clobber=True)
    rows.make(root=str(tmp_path / "sealed"), name="voice-a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as for a scheme that it does not know
        return UPath("securedata://voice-a", writable=True, subject="ann")


def test_paths(top: UPath) -> None:
    path = top / "ann" / "x.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("hello")
    assert (path.read_text(), path.stat().st_size, path.name, path.suffix) == ("hello", 5, "x.txt", ".txt")
    assert path.is_file()
    assert path.parent.is_dir()
    (top / "ann/sub/y.bin").write_bytes(b"12")
    assert [str(one) for one in top.iterdir()] == ["securedata://voice-a/ann"]
    assert sorted(one.name for one in top.rglob("*.*")) == ["x.txt", "y.bin"]
    renamed = path.rename(path.with_name("z.txt"))
    assert (renamed.read_text(), path.exists()) == ("hello", False)
    assert str(renamed.relative_to(top)) == "ann/z.txt"
    renamed.touch()
    (top / "empty").touch()
    assert (top / "empty").read_bytes() == b""
    assert pickle.loads(pickle.dumps(top)) == top
    renamed.unlink()
    assert [str(folder) for folder, _, _ in top.walk()] == [
        f"securedata://voice-a{end}" for end in ("", "/ann", "/ann/sub")
    ]


def test_copies(top: UPath, tmp_path: Path) -> None:
    (top / "x").write_bytes(b"plain")
    (top / "x").copy(top / "y")
    assert (top / "y").read_bytes() == b"plain"
    for target in (str(tmp_path / "x"), tmp_path / "x", UPath(tmp_path / "x"), UPath("memory://x")):
        for act in ((top / "x").copy, (top / "x").move, (top / "x").copy_into, (top / "x").move_into):
            with pytest.raises((PlaintextRefused, FileNotFoundError)):
                act(target)
    assert not (tmp_path / "x").exists()
    allowed = UPath("securedata://voice-a/x", allow_plaintext_export=True)
    allowed.copy(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"plain"
