"""A root has one entry in the config file: two would leave open whose pin and keys count."""

from __future__ import annotations

from pathlib import Path

import pytest

from securedata.corpus.config import Reference, config_path, load, resolve, write_entry
from securedata.corpus.create import create_corpus
from securedata.corpus.home import data_dir
from securedata.errors import ConfigError


def config(text: str) -> Path:
    path = config_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def two(first: str, second: str, more: str = "") -> Path:
    return config(f'# mine\n[corpora.one]\nroot = "{first}"\n\n[corpora.two]\nroot = "{second}"\n{more}')


def spellings(tmp_path: Path) -> dict[str, tuple[str, str]]:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    return {
        "the same": (str(real), str(real)),
        "a slash": (str(real), f"{real}/"),
        "a link": (str(real), str(link)),
        "below a link": (f"{real}/a", f"{link}/a"),
        "dots": (str(real), f"{real}/../real"),
        "file://": (str(real), f"file://{real}"),
        "a bucket": ("s3://voice/a", "s3://voice/a/"),
    }


CASES = ["the same", "a slash", "a link", "below a link", "dots", "file://", "a bucket"]


@pytest.mark.parametrize("case", CASES)
def test_two_entries_for_one_root_are_refused_when_they_are_read(case: str, tmp_path: Path) -> None:
    path = two(*spellings(tmp_path)[case])
    with pytest.raises(ConfigError) as caught:
        load()
    text = str(caught.value)
    assert text.startswith(f"{path}: [corpora.one] (line 2) and [corpora.two] (line 5) are both for ")
    assert "securedata forget NAME" in text
    with pytest.raises(ConfigError, match="are both for"):
        resolve("one")


@pytest.mark.parametrize("case", CASES)
def test_a_second_entry_for_a_root_is_not_written(case: str, tmp_path: Path) -> None:
    first, second = spellings(tmp_path)[case]
    path = config(f'[corpora.one]\nroot = "{first}"\n')
    with pytest.raises(ConfigError, match=r"has an entry for .*, 'one': use that name, or .*securedata forget one"):
        write_entry("two", Reference(second))
    assert path.read_text() == f'[corpora.one]\nroot = "{first}"\n'
    write_entry("one", Reference(second))  # its own may be written again


def test_a_line_is_named_only_where_there_is_one(tmp_path: Path) -> None:
    config(f'corpora.one.root = "{tmp_path}"\ncorpora.two.root = "{tmp_path}"\n')
    with pytest.raises(ConfigError, match=r"\[corpora.one\] and \[corpora.two\] are both for"):
        load()


def test_one_bucket_behind_two_endpoints_is_two_roots() -> None:
    two("s3://voice/a", "s3://voice/a", 'endpoint_url = "http://127.0.0.1:9000"\n')
    assert set(load()) == {"one", "two"}
    assert resolve("two").options["endpoint_url"] == "http://127.0.0.1:9000"
    with pytest.raises(ConfigError, match="'one' and 'two' are both for s3://voice/a, at different endpoints"):
        resolve("s3://voice/a")


def test_the_users_entry_counts_over_the_systems(own_home: Path, tmp_path: Path) -> None:
    system = own_home / "etc" / "securedata" / "config.toml"
    system.parent.mkdir(parents=True)
    system.write_text(f'[corpora.shared]\nroot = "{tmp_path}"\n\n[corpora.other]\nroot = "/other"\n')
    assert resolve(tmp_path).name == "shared"
    config(f'[corpora.mine]\nroot = "{tmp_path}"\n')
    assert resolve(tmp_path).name == "mine"
    assert set(load()) == {"mine", "other"}


def test_init_takes_the_name_that_a_root_has(tmp_path: Path) -> None:
    config(f'[corpora.voice]\nroot = "{tmp_path}/sealed"\n')
    with pytest.raises(ConfigError, match=r"already has an entry for .*, 'voice'"):
        create_corpus(f"{tmp_path}/sealed", name="another")
    assert not (tmp_path / "sealed").exists()
    assert not list(data_dir().rglob("*.kek")), "nothing was made"
    assert create_corpus(f"{tmp_path}/sealed").reference.name == "voice"
