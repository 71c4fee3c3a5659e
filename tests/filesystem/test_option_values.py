"""Options that arrive as text: a word for false is false, whoever reads it, and what is neither is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.config import conf, set_conf_env

import securedata as sd
from securedata.corpus.config import resolve
from securedata.corpus.export.export import export
from securedata.corpus.option_values import as_flag, as_seconds, as_whole
from securedata.errors import InvalidArgument, PlaintextRefused
from tests.filesystem.corpus import FILES, Voice

FALSE = ("false", "False", " FALSE ", "0", "no", "off", "", False, 0, None, np.False_)
TRUE = ("true", "True", "1", "yes", "on", "ON ", True, 1, np.True_)
NEITHER = ("maybe", "none", "2", "truely", "falsch", 2, -1, 0.0, 1.0, [], ["true"], {}, b"true", object())


def test_flags() -> None:
    assert [as_flag("x", value) for value in FALSE] == [False] * len(FALSE)
    assert [as_flag("x", value) for value in TRUE] == [True] * len(TRUE)
    for value in NEITHER:
        with pytest.raises(InvalidArgument, match="x= must be true or false"):
            as_flag("x", value)


@pytest.mark.parametrize("value", FALSE, ids=repr)
def test_no_word_for_false_allows_plaintext(voice: Voice, tmp_path: Path, value: Any) -> None:
    out = tmp_path / "out"
    out.mkdir()
    fs = fsspec.filesystem("securedata", root=str(voice.root), allow_plaintext_export=value)
    for get in (
        lambda: fs.get("ann/a.wav", str(out / "a.wav")),
        lambda: fs.get("ann/a.wav", str(out / "a.wav"), allow_plaintext_export=value),
        lambda: fs.get_file("ann/a.wav", str(out / "a.wav"), allow_plaintext_export=value),
        lambda: fs.open("ann/a.wav", cache_type="mmap"),
        lambda: export(resolve(str(voice.root)), out, allow_plaintext_export=value),
    ):
        with pytest.raises(PlaintextRefused):
            get()
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("value", TRUE, ids=repr)
def test_a_word_for_true_allows_it(voice: Voice, tmp_path: Path, value: Any) -> None:
    fs = fsspec.filesystem("securedata", root=str(voice.root), allow_plaintext_export=value)
    fs.get("ann/a.wav", str(tmp_path / "a.wav"))
    assert (tmp_path / "a.wav").read_bytes() == FILES["ann/a.wav"]


@pytest.mark.parametrize("value", ["maybe", 2, ["true"]], ids=repr)
def test_what_is_neither_is_an_error_before_anything_is_opened(tmp_path: Path, value: Any) -> None:
    with pytest.raises(InvalidArgument, match="allow_plaintext_export= must be true or false"):
        fsspec.filesystem("securedata", root=str(tmp_path / "nothing"), allow_plaintext_export=value)


@pytest.mark.parametrize("word", ["false", "0", "no", "off"])
def test_words_of_the_environment(voice: Voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    said = {"FSSPEC_SECUREDATA_ALLOW_PLAINTEXT_EXPORT": word}
    for whole in (False, True):
        environment = {"FSSPEC_SECUREDATA": json.dumps({"allow_plaintext_export": word})} if whole else said
        monkeypatch.delitem(conf, "securedata", raising=False)
        set_conf_env(conf, environment)
        fs = fsspec.filesystem("securedata", root=str(voice.root))
        with pytest.raises(PlaintextRefused):
            fs.get("ann/a.wav", str(tmp_path / "a.wav"))
        assert list(conf.pop("securedata")) == ["allow_plaintext_export"], "it was there"
        fs.clear_instance_cache()


def test_numbers(voice: Voice) -> None:
    with fsspec.filesystem("securedata").open(f"{voice.reference.name}/ann/a.wav", block_size="4096") as file:
        assert file.blocksize == 4096
        assert file.read() == FILES["ann/a.wav"]
    for value in ("many", "-1", 0, 1.5, True, "1e3"):
        with pytest.raises(InvalidArgument, match="block_size= must be"):
            fsspec.filesystem("securedata").open(f"{voice.reference.name}/ann/a.wav", block_size=value)
    for name in ("ttl", "kms_wait"):
        for value in ("soon", "-1", float("nan"), True, None, [1]):
            with pytest.raises(InvalidArgument, match=f"{name}= must be a number of seconds"):
                sd.open_corpus(voice.reference.name, **{name: value})
        sd.open_corpus(voice.reference.name, **{name: "60"}).close()
    with pytest.raises(InvalidArgument, match="refresh= must be true or false"):
        sd.open_corpus(voice.reference.name, refresh="sometimes")  # type: ignore[arg-type]  # as a config file might
    assert as_seconds("x", "1.5") == 1.5
    assert as_whole("x", " 16000 ", 1, 2**20) == 16000


@pytest.mark.parametrize("name", ["num_frames", "sample_rate"])
def test_whole_numbers_of_a_dataset(voice: Voice, name: str) -> None:
    for value in ("many", "0", True, 1.5, "1.5"):
        with pytest.raises(InvalidArgument, match=f"{name}= must be"):
            sd.EncryptedAudioDataset(voice.reference.name, **{name: value})
    assert getattr(sd.EncryptedAudioDataset(voice.reference.name, **{name: "16000"}), name) == 16000
