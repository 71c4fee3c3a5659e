"""The demo's own folder: the downloaded voices, and one run's store, keys and configuration, away from the user's."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo import DemoError

MARK = ".securedata-demo"
HOMES = {
    "XDG_CONFIG_HOME": "config",
    "XDG_DATA_HOME": "data",
    "XDG_STATE_HOME": "state",
    "XDG_CONFIG_DIRS": "system",
}


class Workplace:
    """`folder` holds `prompts/`, kept for the next time, and `run/`, made anew by every run.

    Runs of another `kind` have a folder, a picture and results of their own.
    """

    def __init__(self, folder: Path, kind: str = "") -> None:
        self.folder = folder.resolve()
        self.prompts = self.folder / "prompts"
        self.run = self.folder / f"run{kind}"
        self.store = self.run / "store" / "demo-voices"
        self.home = self.run / "home"
        self.picture = self.folder / f"demo{kind}.png"
        self.results = self.folder / f"results{kind}.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """One demo at a time in one folder; a killed one holds nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DemoError(
                    f"another demo is running in {self.folder}: wait for it, or use --workdir DIR"
                ) from None
            yield

    def begin(self, keep: bool) -> None:
        """Make `run/`: anew, unless `keep` lets the store of the last run stand. Deletes only what a demo made."""
        if self.run.exists() and not (self.run / MARK).exists():
            raise DemoError(f"{self.run} is there and no demo made it: use --workdir DIR")
        if self.run.exists() and not keep:
            # The mark goes last, so that a kill in the middle leaves a folder that the next run knows.
            for path in self.run.iterdir():
                if path.name != MARK:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.run.mkdir(exist_ok=True)
        (self.run / MARK).touch()

    def isolate(self) -> None:
        """Point this process and its children at the demo's own configuration and keys, away from the user's."""
        for name in [name for name in os.environ if name.startswith(("SECUREDATA_", "AWS_", "VAULT_", "BAO_"))]:
            del os.environ[name]
        lines = []
        for variable, name in HOMES.items():
            home = self.home / name
            home.mkdir(parents=True, exist_ok=True)
            os.environ[variable] = str(home)
            lines.append(f"export {variable}={shlex.quote(str(home))}\n")
        (self.run / "env.sh").write_text("unset SECUREDATA_CONFIG SECUREDATA_KMS SECUREDATA_PIN\n" + "".join(lines))
