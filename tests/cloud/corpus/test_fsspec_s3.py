"""Writing through fsspec to a corpus on S3: fsspec's own suite, and what range reads fetch."""

from __future__ import annotations

import uuid

import fsspec
import numpy as np
import pytest

import securedata as sd
from securedata.filesystem import SecuredataFileSystem
from securedata.storage.s3.store import PART
from tests.kit.conformance import READING, WRITING, Fixtures, refused
from tests.kit.corpora import rows
from tests.kit.servers import Seaweed

pytestmark = pytest.mark.xdist_group("servers")


def make(options: dict[str, object]) -> SecuredataFileSystem:
    rows.make(root=f"s3://voice/{uuid.uuid4().hex}", name="suite")
    return fsspec.filesystem("securedata", root="suite", writable=True, subject="ann", **options)


@pytest.fixture
def fs(admin: Seaweed) -> SecuredataFileSystem:
    return make({})


class Allowed(Fixtures):
    @pytest.fixture
    def fs(self, admin: Seaweed) -> SecuredataFileSystem:
        return make({"allow_plaintext_export": True})


class ByDefault(Fixtures):
    @pytest.fixture
    def fs(self, admin: Seaweed) -> SecuredataFileSystem:
        return make({})


class TestSample(Allowed, *WRITING[2:]):
    pass


@pytest.mark.full
class TestAllOfItWithExport(Allowed, READING, *WRITING):
    pass


@pytest.mark.full
class TestWritingByDefault(ByDefault, *WRITING):
    pass


@pytest.mark.full
class TestGetByDefault(ByDefault, refused(READING)):
    pass


def test_every_kind_of_change(fs: SecuredataFileSystem) -> None:
    big = np.random.default_rng(0).bytes(2 * PART + 1)
    with fs.open("big", "wb") as file:
        for at in range(0, len(big), 1_000_000):
            file.write(big[at : at + 1_000_000])
    with fs.transaction:
        fs.pipe({f"many/{number}": b"%d" % number for number in range(100)})
        fs.mv("big", "large")
    fs.cp("large", "copy")
    fs.rm("many", recursive=True)
    assert fs.find("") == ["copy", "large"]
    assert fs.cat_file("copy", len(big) - 10) == big[-10:]
    report = sd.verify("suite")
    assert (report.ok, report.in_flight) == (True, 0)
