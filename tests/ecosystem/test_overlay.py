""".venv-eco has what the packages in it ask for, and nothing that .venv has: torch is that of all other tests."""

from __future__ import annotations

from importlib.metadata import requires, version

from packaging.requirements import Requirement

from tests.kit.docs.tree import ROOT
from tests.project.test_dependencies import pins

ECO = ROOT / "constraints-eco.txt"


def test_it_holds_nothing_of_the_other_set() -> None:
    assert not set(pins(ECO)) & set(pins())


def test_what_its_packages_ask_for_is_there() -> None:
    for name, pinned in pins(ECO).items():
        assert version(name) == str(pinned)
        for line in requires(name) or []:
            one = Requirement(line)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                assert one.specifier.contains(version(one.name), prereleases=True), f"{name} needs {line}"
