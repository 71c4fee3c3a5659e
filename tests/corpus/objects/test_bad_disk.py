"""Any change of any file on disk ends in the right bytes or in an error of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from securedata.corpus.config import Reference
from securedata.corpus.reader import Corpus
from securedata.errors import (
    SecuredataError,
)
from tests.conftest import FULL
from tests.kit.corpora.contents import files_of, open_quietly
from tests.kit.corpora.harmed import PATHS
from tests.kit.corpora.rows import content, fill, make, writer_of

# ----------------------------------------------------------------------------------------------- any byte of any file


@pytest.fixture(scope="module")
def sealed_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Reference, Path, dict[str, bytes]]:
    """A small corpus on disk, and the bytes of its files."""
    home = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CONFIG", "DATA", "STATE"):
            patch.setenv(f"XDG_{name}_HOME", str(home / name))
        root = home / "sealed"
        reference = make(root=str(root))
        writer = writer_of(reference)
        fill(writer, *PATHS[:2])
        fill(writer, PATHS[2], "gone")
        writer.commit(remove=["gone"])
    return reference, root, {str(path.relative_to(root)): path.read_bytes() for path in files_of(root)}


edits = st.tuples(
    st.sampled_from(["flip", "cut", "insert", "truncate", "swap", "delete", "zero", "copy"]),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.binary(min_size=1, max_size=30),
)


@given(changes=st.lists(edits, min_size=1, max_size=3))
@settings(max_examples=3000 if FULL else 120, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_on_disk_is_an_error_of_ours_or_the_right_bytes(
    changes: list[tuple[str, int, int, bytes]],
    sealed_folder: tuple[Reference, Path, dict[str, bytes]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    reference, root, files = sealed_folder
    damaged = dict(files)
    names = sorted(files)
    for kind, which, where, new in changes:
        name = names[which % len(names)]
        if name not in damaged:
            continue
        data = bytearray(damaged[name])
        at = where % (len(data) + 1)
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << new[0] % 8
        elif kind == "cut":
            del data[at : at + len(new)]
        elif kind == "insert":
            data[at:at] = new
        elif kind == "truncate":
            del data[at:]
        elif kind == "zero":
            data[at : at + len(new)] = bytes(len(data[at : at + len(new)]))
        elif kind == "copy":
            data = bytearray(damaged.get(names[where % len(names)], b""))
        elif kind == "swap":
            other = names[where % len(names)]
            if other in damaged:
                data, damaged[other] = bytearray(damaged[other]), bytes(data)
        damaged[name] = bytes(data)
        if kind == "delete":
            del damaged[name]
    for name in names:
        path = root / name
        if name not in damaged:
            path.unlink(missing_ok=True)
        elif not path.exists() or path.read_bytes() != damaged[name]:
            path.write_bytes(damaged[name])
    for who in (reference, Reference(reference.root, None, reference.kms)):
        opened = allowed(lambda who=who: open_quietly(who))
        if opened is not None:
            check_reading(opened)


def check_reading(opened: Corpus) -> None:
    for path in PATHS:
        reads: list[Callable[[str], Any]] = [
            opened.read,
            lambda path: opened.read_range(path, 0, 1000),
            lambda path: opened.open(path).read(),
        ]
        for read in reads:
            assert allowed(lambda read=read, path=path: read(path)) in (None, content(path))


def allowed(act: Callable[[], Any]) -> Any:
    """What it gives, or None if it raises an error of ours that tells nothing."""
    try:
        return act()
    except SecuredataError as error:
        check_silent(error)
        return None


def check_silent(error: SecuredataError) -> None:
    assert error.root or "local://" in str(error)
    assert not any(secret in str(error) for secret in ("cork", "bob", *PATHS))
