"""`import securedata as sd`: what `help(sd)` teaches runs, and its names are what they say."""

from __future__ import annotations

import pydoc
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import securedata as sd
from tests.kit.cli.process import output_of
from tests.kit.docs.readme import WARNINGS, make_wavs

# ------------------------------------------------------------------------------------------------- what is read


def examples(text: str) -> str:
    """The indented blocks of a docstring, as one program."""
    return "\n".join(textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE))


def test_what_help_teaches_runs(tmp_path: Path) -> None:
    program = examples(sd.__doc__ or "")
    assert program.count("sd.") >= 7
    make_wavs(tmp_path)
    flags = [flag for warning in WARNINGS for flag in ("-W", warning)]
    said = output_of([sys.executable, *flags, "-c", program], tmp_path)
    assert said.startswith("8 recordings sealed; back up /")
    assert "8 files in" in said


def test_help_shows_the_tour_and_the_functions() -> None:
    text = pydoc.plain(pydoc.render_doc(sd))
    assert "sd.ingest(" in text
    assert pydoc.plain(pydoc.render_doc(sd.ingest)).count("speaker_pattern") > 1


# ------------------------------------------------------------------------------------------------------- its names


@pytest.mark.parametrize(
    "first", ["import securedata.ingest.preview", "from securedata.ingest import pipeline", "import securedata.errors"]
)
def test_ingest_is_the_function_whatever_was_imported_before(first: str, tmp_path: Path) -> None:
    program = f"{first}\nimport securedata as sd\nfrom securedata.ingest.report import Sources\n"
    program += "from securedata.ingest import sealing\nprint(sd.ingest.__name__, callable(sd.ingest), sealing.__name__)"
    program += "\nprint(sd.errors.NotFound.__name__)"
    said = output_of([sys.executable, "-W", "error", "-c", program], tmp_path)
    assert said.split() == ["ingest", "True", "securedata.ingest.sealing", "NotFound"]


def test_a_report_is_there_without_torch(tmp_path: Path) -> None:
    program = "import sys, securedata as sd; sd.ingest, sd.verify, sd.export, sd.create_corpus, sd.IngestReport\n"
    program += "print(*{'torch', 'boto3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
