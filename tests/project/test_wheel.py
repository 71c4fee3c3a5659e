"""What is published works: the wheel, built from the sdist and installed beside its dependencies, runs the README."""

from __future__ import annotations

import email
import shutil
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.kit.cli.process import output_of, pip
from tests.kit.docs.readme import prepare, run_python
from tests.kit.docs.tree import ROOT, project_files
from tests.project.test_dependencies import PROJECT, pins

pytestmark = pytest.mark.xdist_group("wheel")  # one process builds, once


@dataclass(frozen=True)
class Built:
    wheel: Path
    sdist: Path

    @property
    def metadata(self) -> Message:
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Builds in a copy, because setuptools writes into the tree it builds; the wheel comes out of the sdist."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for path in project_files():
        target = tree / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    output_of([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, tree], tree)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return Built(wheel, sdist)


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh venv that holds the wheel and sees the packages of this one: no second torch is installed.

    A line in a .pth file adds a folder without reading the .pth files in it, so the checkout, which this venv has
    installed as editable, stays out of sight.
    """
    root = tmp_path_factory.mktemp("venv")
    venv.create(root, symlinks=True, with_pip=False)
    python = root / "bin" / "python"
    (site,) = (root / "lib").glob("python3*/site-packages")
    output_of(pip(python, "install", "--quiet", "--no-index", "--no-deps", built.wheel), root)
    (site / "main.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def test_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = archive.namelist()
    package = {p.relative_to(ROOT).as_posix() for p in project_files() if p.is_relative_to(ROOT / "securedata")}
    assert "securedata/py.typed" in package
    assert {name for name in names if ".dist-info/" not in name} == package
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_is_for_any_platform(built: Built) -> None:
    assert built.wheel.name == f"securedata_torch-{built.metadata['Version']}-py3-none-any.whl"
    assert built.metadata["Name"] == "securedata-torch"
    assert built.metadata["License-Expression"] == "Apache-2.0"
    assert built.metadata["Requires-Python"] == ">=3.11"


def test_sdist_can_be_tested(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members}
    wanted = {p.relative_to(ROOT).as_posix() for p in project_files()}
    assert wanted - names == set()
    assert {(member.uname, member.gname) for member in members} <= {("root", "root"), ("", "")}


def test_dependencies_are_pinned_where_they_are_allowed(built: Built) -> None:
    pinned = pins()
    core = [r for r in map(Requirement, built.metadata.get_all("Requires-Dist", [])) if "extra" not in str(r.marker)]
    assert len(core) > 10
    for requirement in core:
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), (
            f"constraints.txt has {requirement.name} {version}, the wheel wants {requirement}"
        )


def test_dependencies_have_no_upper_bound(built: Built) -> None:
    bounded = [
        r
        for r in built.metadata.get_all("Requires-Dist", [])
        if any(s.operator != ">=" for s in Requirement(r).specifier)
    ]
    assert bounded == []


def test_installed_wheel_has_all_it_needs(installed: Path, tmp_path: Path) -> None:
    assert "No broken requirements" in output_of(pip(installed, "check"), tmp_path)


def test_installed_wheel_is_what_gets_imported(installed: Path, tmp_path: Path) -> None:
    program = (
        "import securedata, fsspec; from importlib.metadata import version; print(securedata.__file__); "
        "print(version('securedata-torch')); print(fsspec.get_filesystem_class('securedata').__module__)"
    )
    where, version, filesystem = output_of([installed, "-W", "error", "-c", program], tmp_path).splitlines()
    assert Path(where).is_relative_to(installed.parent.parent)
    assert version == PROJECT["project"]["version"]
    assert filesystem == "securedata.filesystem" or filesystem.startswith("securedata.filesystem.")


def test_command_is_installed(installed: Path, tmp_path: Path) -> None:
    assert "encrypt" in output_of([installed.parent / "securedata", "--help"], tmp_path)


def test_readme_runs_on_the_wheel(installed: Path, tmp_path: Path) -> None:
    command = str(installed.with_name("securedata"))
    prepare(tmp_path, lambda *arguments: output_of([command, *arguments], tmp_path))
    run_python(ROOT / "README.md", tmp_path, python=str(installed))
