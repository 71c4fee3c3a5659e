"""What holds for every test: an own home; `quiet` tests run alone; `full` tests wait for `make test-full`."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path

import hypothesis
import pytest

FULL = os.environ.get("SECUREDATA_FULL") == "1"
"""Whether matrices are gone through whole (`make test-full`), or a sample of them."""

if FULL:  # an exhaustive test is no hung one; this holds for whatever command starts it
    os.environ.setdefault("PYTEST_TIMEOUT", "1800")

# Two test processes on two cores: more threads in each would only take turns.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The default run gives the same verdict twice for the same code; the full one looks further each time. No deadline: how
# long an example takes says more about the machine's other work than about the code.
hypothesis.settings.register_profile("fast", max_examples=50, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("full", max_examples=1000, deadline=None, print_blob=True)
hypothesis.settings.load_profile("full" if FULL else "fast")


# ----------------------------------------------------------------------------------------------------- collection


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """In a fresh clone, let each process rewrite the asserts of a share of the modules, which the others find cached.

    That is most of what collecting costs, and each process of xdist collects everything.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker is None or sys.dont_write_bytecode or session.config.args != session.config.getini("testpaths"):
        return
    number, count, here = int(worker["workerid"].removeprefix("gw")), worker["workercount"], Path(__file__).parent
    elsewhere = set(session.config.getini("norecursedirs"))
    conftests, modules = (
        [path for path in sorted(here.rglob(name)) if elsewhere.isdisjoint(path.parts)]
        for name in ("conftest.py", "test_*.py")
    )
    for path in [*conftests, *modules[number::count]]:
        # what fails to be imported is met again, and reported, when its tests are collected
        with suppress(Exception):
            import_module(".".join(path.relative_to(here.parent).with_suffix("").parts))


# ---------------------------------------------------------------------------------------------------- an own home


@pytest.fixture(scope="session")
def matplotlib_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the whole session, because matplotlib spends seconds on its font list."""
    return tmp_path_factory.mktemp("matplotlib")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, matplotlib_home: Path) -> Iterator[Path]:
    """Points home, configuration and credentials of this test into a folder of its own, and returns that folder.

    A test may therefore run `securedata init` without ever touching the keys of the person who runs the tests.
    """
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("SECUREDATA_", "FSSPEC_", "AWS_", "VAULT_", "BAO_")) and name != "SECUREDATA_FULL":
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        for name, folder in (
            ("CONFIG", ".config"),
            ("DATA", ".local/share"),
            ("STATE", ".local/state"),
            ("CACHE", ".cache"),
        ):
            patch.setenv(f"XDG_{name}_HOME", str(home / folder))
        patch.setenv("XDG_CONFIG_DIRS", str(home / "etc"))
        patch.setenv("MPLCONFIGDIR", str(matplotlib_home))
        patch.setenv("MPLBACKEND", "Agg")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield home
    # fsspec keeps filesystems for the life of the process; the next test's 'voice-a' is another corpus.
    if "securedata.filesystem" in sys.modules:
        sys.modules["securedata.filesystem"].SecuredataFileSystem.clear_instance_cache()


# ------------------------------------------------------------------------------------------------- what many begin with
#
# These import what they need when they run: nothing may load numpy before the number of threads above is set.


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., object]:
    """Runs the command: `run("ls", root)`; see `tests.kit.cli.commandline`."""
    from tests.kit.cli.commandline import runner

    return runner(capsys)


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A corpus of six recordings; see `tests.kit.corpora.recorded`."""
    from tests.kit.corpora.recorded import make_corpus

    return make_corpus(tmp_path)


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    """A folder of the same six recordings."""
    from tests.kit.sources.recordings import write_clips

    return write_clips(tmp_path / "wavs")


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A KMS that counts; started workers find its provider on sys.path, by its entry point."""
    from tests.kit.counting_kms import Counted

    kms = Counted(tmp_path)
    monkeypatch.syspath_prepend(str(kms.installed))
    return kms


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, this is a machine that has seen no head."""
    return lambda: monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))


@pytest.fixture(scope="module")
def brief_loaders() -> Iterator[None]:
    """A DataLoader whose worker failed sometimes waits 5 s before it ends the worker; here it waits half a second."""
    from torch.utils.data import _utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_utils, "MP_STATUS_CHECK_INTERVAL", 0.5)
        yield


Note = Callable[[str], None]


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    """Takes what a reader of the summary has to know of a test that passes: how far it looked."""
    return partial(record_property, "note")


# ------------------------------------------------------------------------------------- tests that wait for test-full

LEFT = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if FULL:
        return
    left = [item for item in items if item.get_closest_marker("full")]
    config.stash[LEFT] = len(left)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker("full")]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a process of pytest-xdist: it alone has collected
        session.config.workeroutput["left"] = session.config.stash.get(LEFT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    node.config.stash[LEFT] = getattr(node, "workeroutput", {}).get("left", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        said = [str(value) for name, value in report.user_properties if name == "note"]
        if said and report.when == "call":
            terminalreporter.write_line(f"{report.nodeid}: {'; '.join(said)}")
    left = config.stash.get(LEFT, 0)
    if left:
        terminalreporter.write_line(f"{left} exhaustive tests are left to `make test-full` (SECUREDATA_FULL=1)")


# ---------------------------------------------------------------------------------- tests that belong to one process


def pytest_runtest_setup(item: pytest.Item) -> None:
    """pytest-xdist 3.8 does not see the groups of pytest 9.2, and says nothing (pytest-dev/pytest-xdist#1386)."""
    mark = item.get_closest_marker("xdist_group")
    if mark and getattr(item.config.option, "loadgroup", False) and not item.nodeid.endswith(f"@{mark.args[0]}"):
        pytest.fail(
            f"pytest {pytest.__version__} and pytest-xdist have not put this test into its group {mark.args[0]!r}: "
            "install their versions of constraints.txt"
        )


# ------------------------------------------------------------------------------------ tests that need a quiet machine


class Room:
    """Lets many ordinary tests in, or one `quiet` test alone, over all processes of pytest-xdist and tests.kit.beside.

    Whoever wants in waits at the door first, holding it: otherwise ordinary tests, which follow each other without a
    pause, would keep a quiet one out until the end.
    """

    def __init__(self, folder: Path) -> None:
        self._door = (folder / "door").open("w")
        self._inside = (folder / "inside").open("w")

    def close(self) -> None:
        self._door.close()
        self._inside.close()

    @contextmanager
    def enter(self, alone: bool) -> Iterator[None]:
        fcntl.flock(self._door, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._inside, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._inside, fcntl.LOCK_UN)


ROOM = pytest.StashKey[Room]()
ROOM_FOLDER = pytest.StashKey[str]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    if ROOM_FOLDER not in node.config.stash:
        node.config.stash[ROOM_FOLDER] = tempfile.mkdtemp(prefix="securedata-tests-")
    node.workerinput["room"] = node.config.stash[ROOM_FOLDER]


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.stash[ROOM] = Room(Path(config.workerinput["room"]))
    elif folder := os.environ.get("SECUREDATA_TESTS_ROOM"):  # of tests.kit.beside: one process more
        config.stash[ROOM] = Room(Path(folder))


def pytest_unconfigure(config: pytest.Config) -> None:
    if ROOM in config.stash:
        config.stash[ROOM].close()
    if ROOM_FOLDER in config.stash:
        shutil.rmtree(config.stash[ROOM_FOLDER])


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of pytest-timeout: waiting is not the test's time
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    room = item.config.stash.get(ROOM, None)
    if room is None:  # one process: every test is alone
        return (yield)
    with room.enter(alone=item.get_closest_marker("quiet") is not None):
        return (yield)
