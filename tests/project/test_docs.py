"""Every Python block of README.md and docs/ runs, file by file, in order, beside a small corpus."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.columns import KNOWN_COLUMNS, UNITS
from securedata.ingest.sources.layouts.names import LAYOUTS
from tests.format.test_rules_table import TABLE, TEXT, held, problems, rules
from tests.kit.cli.commandline import Run
from tests.kit.docs.apidocs import PAGE as REFERENCE
from tests.kit.docs.apidocs import ROOMS
from tests.kit.docs.apidocs import page as reference
from tests.kit.docs.readme import all_blocks, blocks, prepare, run_python, script
from tests.kit.docs.tree import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
WITH_CODE = [page for page in PAGES if page.name == "README.md" or blocks(page)]


def test_readme_shows_how() -> None:
    assert blocks(ROOT / "README.md")


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page_runs(page: Path, here: Path, run: Run) -> None:
    def securedata(*arguments: str) -> None:  # in this process: the wheel's test runs the command that is installed
        assert run(*arguments).code == 0

    prepare(here, securedata)
    run_python(page, here)


def test_the_reference_is_that_of_the_docstrings() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == reference(), "run: python -m tests.kit.docs.apidocs"
    named = [name for names in ROOMS.values() for name in names]
    assert sorted(named) == sorted(sd.__all__)


def test_every_column_and_unit_of_a_manifest_is_on_the_page() -> None:
    text = (ROOT / "docs/ingest.md").read_text(encoding="utf-8")
    table = {line.split("|")[1].strip(" `"): line for line in text.splitlines() if line.startswith("| `")}
    for column, names in KNOWN_COLUMNS.items():
        of_times = column in ("offset", "end", "duration")
        shown = [name for name in names if not of_times or "_" not in name or name.endswith("_time")]
        shown = [name for name in shown if not name.startswith(("segment_", "seg_", "clip_", "chunk_", "utt"))]
        assert [name for name in (*shown, column) if f"`{name}`" not in table[column]] == []
    assert [unit for unit in UNITS if f"`{unit}`" not in text and f" {unit}`" not in text] == []
    assert [name for name in LAYOUTS if name not in table] == []


def test_rules_of_the_format_have_ids_and_tests() -> None:
    """Tests by their names; that they run by default is compared in format/test_rules_table.py, which takes seconds."""
    assert problems(TEXT) == [], "an id behind each MUST: see CONTRIBUTING.md"
    assert [*held(TABLE)] == rules(TEXT)
    missing = []
    for rule, tests in held(TABLE).items():
        for test in tests:
            file, *names = test.partition("[")[0].split("::")
            text = (ROOT / "tests" / file).read_text(encoding="utf-8")
            kind = "class" if len(names) == 2 else "def"  # a class may inherit the test
            if not re.search(rf"^{kind} {names[0]}\b", text, re.MULTILINE):
                missing.append(f"{rule}: {test}")
    assert missing == [], "renamed? docs/format-rules.md names it"


# The extraction itself, so that a block it misses is not mistaken for one that passed.

PAGE = """\
# Title

```python
a = 1
```

1. In a list:

   ~~~python
   if a:
       b = "```"
   ~~~

````text
```python
not this one
```
````

```
nor this
```
"""


def test_blocks_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    assert [(block.line, block.text) for block in blocks(page)] == [(4, "a = 1"), (10, 'if a:\n    b = "```"')]
    assert script(page).splitlines()[3] == "a = 1"
    assert script(page).splitlines()[9] == "if a:"
    assert [block.language for block in all_blocks(PAGE)] == ["python", "python", "text", ""]


def test_open_block_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 1 is never closed"):
        all_blocks("```python\na = 1\n")


@pytest.mark.parametrize("line", ["raise KeyError('x')", "import warnings; warnings.warn('old')", "assert False"])
def test_block_that_fails_is_shown_with_its_line(line: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n```python\na = 1\n{line}\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r'File "page\.md", line 5'):
        run_python(page, tmp_path)
