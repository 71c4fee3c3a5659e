"""Write a benchmark's JSON file, with the machine, the figures and the raw results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.tools.stats import Figure

OUT = Path("benchmarks/results")


def write(folder: Path, name: str, about: dict[str, object], figures: Sequence[Figure], results: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    found = {"benchmark": name, "machine": about, "figures": [figure.json() for figure in figures], "results": results}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return path
