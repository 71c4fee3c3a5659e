"""fsspec's own suite over a corpus in a folder: what a tool expects of any filesystem."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from securedata.filesystem import SecuredataFileSystem
from tests.kit.conformance import READING, WRITING, Fixtures, cases, refused, sampled
from tests.kit.corpora import rows


class Allowed(Fixtures):
    @pytest.fixture
    def fs(self, tmp_path: Path) -> SecuredataFileSystem:
        rows.make(root=str(tmp_path / "sealed"), name="suite")
        return fsspec.filesystem("securedata", root="suite", writable=True, subject="ann", allow_plaintext_export=True)


class ByDefault(Fixtures):
    @pytest.fixture
    def fs(self, tmp_path: Path) -> SecuredataFileSystem:
        rows.make(root=str(tmp_path / "sealed"), name="suite")
        return fsspec.filesystem("securedata", root="suite", writable=True, subject="ann")


class TestAllOfItWithExport(Allowed, sampled(READING), *map(sampled, WRITING)):
    pass


@pytest.mark.full
class TestWritingByDefault(ByDefault, *WRITING):
    pass


class TestGetByDefault(ByDefault, refused(sampled(READING))):
    pass


def test_the_suite_is_the_one_that_is_known() -> None:
    assert (cases(READING), cases(*WRITING)) == (45, 91)
