"""The demo's folder, apart from the user's files: the downloaded voices, and a run's store, keys and configuration."""

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
    """`folder` holds `prompts/`, which is kept, and `run/`, which every run makes again.

    Runs of another `kind` have their own folder, picture and results.
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
        """Allow only one demo at a time in a folder. A killed demo holds no lock."""
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
        """Make `run/`, empty unless `keep` keeps the last run's. Deletes only what a demo made."""
        if self.run.exists() and not (self.run / MARK).exists():
            raise DemoError(f"{self.run} exists, but no demo made it: use --workdir DIR")
        if self.run.exists() and not keep:
            # The mark is kept, so that the next run recognises the folder even if this one is killed here.
            for path in self.run.iterdir():
                if path.name != MARK:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.run.mkdir(exist_ok=True)
        (self.run / MARK).touch()

    def isolate(self) -> None:
        """Make this process and its children use the demo's own configuration and keys, not the user's."""
        for name in [name for name in os.environ if name.startswith(("SECUREDATA_", "AWS_", "VAULT_", "BAO_"))]:
            del os.environ[name]
        lines = []
        for variable, name in HOMES.items():
            home = self.home / name
            home.mkdir(parents=True, exist_ok=True)
            os.environ[variable] = str(home)
            lines.append(f"export {variable}={shlex.quote(str(home))}\n")
        (self.run / "env.sh").write_text("unset SECUREDATA_CONFIG SECUREDATA_KMS SECUREDATA_PIN\n" + "".join(lines))
