"""`make demo`: its parts, and the whole of it on a small folder of made-up voices."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from demo import DemoError, prompts
from demo.features import LogMel, PlainMelSpectrogram
from demo.model import VoiceNet
from demo.search import BLOCK, Needles, audio_runs, entropy, histogram
from demo.split import halves, text_groups
from demo.workplace import MARK, Workplace

ROOT = Path(__file__).resolve().parents[2]


# ------------------------------------------------------------------------------------------------------- the prompts


def unpacked_package(folder: Path, language: str, home: str, texts: str, names: list[str]) -> Path:
    """What dpkg-deb leaves of the two packages of one language."""
    for name in names:
        wav = folder / "usr/share/asterisk/sounds" / home / f"{name}.wav"
        wav.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(wav, np.zeros(80, np.float32), 8000)
    doc = folder / f"usr/share/doc/asterisk-core-sounds-{language}"
    doc.mkdir(parents=True)
    (doc / f"core-sounds-{language}.txt.gz").write_bytes(gzip.compress(texts.encode()))
    return folder


def test_prompts_become_a_folder_and_a_table(tmp_path: Path) -> None:
    texts = {
        "en": '; Core Sounds\n\nhello: Hello.\ndigits/1:  one \nadvice: Say "no",  then hang up.\nbeep: [a beep]\n',
        "fr": 'hello: Bonjour"\n',
        "es": "hello: Hola: ¿sí?\n",
    }
    homes = {"en": "en_US_f_Allison", "fr": "fr_CA_f_June", "es": "es_MX_f_Allison"}
    names = ["hello", "digits/1", "advice", "beep", "tt-monkeys", "silence/1"]
    building = tmp_path / "voices"
    for voice in prompts.VOICES:
        package = unpacked_package(
            tmp_path / voice.language, voice.language, homes[voice.language], texts[voice.language], names
        )
        prompts.take_recordings(package, building, voice)
    rows = list(prompts.read_prompts(building))
    assert [row.path for row in rows if row.language == "en"] == ["en/advice.wav", "en/digits/1.wav", "en/hello.wav"]
    assert {row.path: row.text for row in rows if row.text} == {
        "en/advice.wav": 'Say "no", then hang up.',
        "en/digits/1.wav": "one",
        "en/hello.wav": "Hello.",
        "es/hello.wav": "Hola: ¿sí?",
        "fr/hello.wav": "Bonjour",
    }
    # The package credits two people with three voices: both of Allison Smith's are hers.
    assert {(row.voice, row.speaker) for row in rows} == {
        ("allison-en", "Allison Smith"),
        ("allison-es", "Allison Smith"),
        ("june-fr", "June Wallack"),
    }
    prompts.write_table(building / prompts.TABLE, rows)
    with (building / prompts.TABLE).open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [tuple(row.values()) for row in read] == [
        (row.path, row.speaker, row.voice, row.text, row.language) for row in rows
    ]
    assert all((building / row.path).is_file() for row in rows)


def test_an_unknown_layout_of_the_packages_is_an_error(tmp_path: Path) -> None:
    package = unpacked_package(tmp_path / "en", "en", "other", "hello: Hello.\n", ["hello"])
    with pytest.raises(DemoError, match="CORPUS=DIR"):
        prompts.take_recordings(package, tmp_path / "voices", prompts.VOICES[0])


def test_the_sizes_of_packages_are_read_from_apt() -> None:
    printed = "'http://deb.example/pool/a%7eb_1_all.deb' a~b_1_all.deb 22844 SHA256:97\nFetched nothing\n"
    assert dict(prompts.parse_uris(printed)) == {"a~b_1_all.deb": 22844}


def test_without_apt_the_message_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DemoError, match=r"no apt-get here.*make demo CORPUS=DIR"):
        prompts.get_voices(tmp_path / "out")


# --------------------------------------------------------------------------------------------------------- the split


def test_texts_and_translations_hang_together() -> None:
    paths = ["en/hi.wav", "fr/hi.wav", "en/hello.wav", "en/bye.wav", "es/bye.wav"]
    texts = ["Hello!", "", "hello", "Bye", "Adiós"]
    groups = text_groups(paths, texts, prompts=True)
    assert len({groups[0], groups[1], groups[2]}) == 1  # the same words, and the same words in French
    assert groups[3] == groups[4] != groups[0]
    assert len(set(text_groups(paths, texts, prompts=False))) == 4


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["en", "fr"]), st.sampled_from("stuvw"))))
def test_no_text_stands_in_both_halves(rows: list[tuple[str, str, str]]) -> None:
    paths = [f"{language}/{name}-{number}.wav" for number, (name, language, _) in enumerate(rows)]
    texts = [f"text {text}" for *_, text in rows]
    try:
        found = halves(paths, texts, ["one"] * len(rows), prompts=True, most=1000)
    except DemoError:
        assert len(rows) < 2
        return
    if len(set(texts)) > 3 and len(rows) > 20:
        assert not {texts[row] for row in found.train} & {texts[row] for row in found.test}
    assert sorted(found.train + found.test) == list(range(len(rows)))


def test_what_a_reader_of_the_accuracy_has_to_know_is_said() -> None:
    paths = [f"{number:03}.wav" for number in range(100)]
    said = halves(paths, [""] * 100, ["a", "b"] * 50, prompts=False, most=80).remarks
    assert said[0] == "A sample of 80 of the 100 recordings is used."
    assert "Without transcripts" in said[1]
    assert "the same text" in " ".join(halves(paths, ["go"] * 100, ["a", "b"] * 50, prompts=False, most=100).remarks)
    assert "one voice" in " ".join(halves(paths, paths, ["a"] * 100, prompts=False, most=100).remarks)
    strangers = halves(paths, paths, ["a"] * 99 + ["b"], prompts=False, most=100)
    assert len(strangers.train) + len(strangers.test) in (99, 100)
    with pytest.raises(DemoError, match="none of the 100 recordings"):
        halves(paths, paths, paths, prompts=False, most=100)


# -------------------------------------------------------------------------------------------------------- the search


def test_a_needle_is_found_at_every_offset(tmp_path: Path) -> None:
    noise = random.Random(7)
    places = [0, 1, 7, 8, 63, BLOCK - 9, BLOCK - 8, BLOCK - 7, BLOCK - 1, BLOCK, 2 * BLOCK + 100]
    for number, place in enumerate(places):
        secret = f"secret {number:02} of a person".encode()
        data = bytearray(noise.randbytes(place + len(secret)))
        data[place:] = secret
        path = tmp_path / f"{number}"
        path.write_bytes(data)
        needles = Needles({"secrets": [secret, noise.randbytes(16)], "others": [secret[:8], secret[:12]]})
        found = needles.search([path], tmp_path)
        assert found.seen == {"secrets": 1, "others": 2}, place
        assert found.bytes == len(data)
        path.write_bytes(data[:-1])
        assert needles.search([path], tmp_path).seen == {"secrets": 0, "others": 2}, place


def test_names_of_files_are_searched_and_short_needles_are_counted(tmp_path: Path) -> None:
    (tmp_path / "person-one").mkdir()
    (tmp_path / "person-one" / "1").write_bytes(b"")
    needles = Needles({"names": [b"person-one", b"person-two", b"two"]})
    assert needles.counts == {"names": 2}
    assert needles.too_short == {"names": 1}
    assert needles.search([tmp_path / "person-one" / "1"], tmp_path).seen == {"names": 1}


def test_audio_runs_are_taken_from_the_whole_file_and_not_from_silence(tmp_path: Path) -> None:
    data = random.Random(7).randbytes(100_000)
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(bytes(100_000))
    runs, stride = audio_runs([tmp_path / "a", tmp_path / "b"])
    assert stride == 1024
    assert [data.index(run) for run in runs] == list(range(64, 100_000 - 15, 1024))


def test_entropy_tells_noise_from_text(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(random.Random(7).randbytes(1 << 20))
    (tmp_path / "text").write_bytes(b"ab" * 1000)
    assert entropy(histogram([tmp_path / "noise"])) > 7.999
    assert entropy(histogram([tmp_path / "text"])) == 1.0


# --------------------------------------------------------------------------------------------------------- the model


def test_features_without_torchaudio_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for rate in (8000, 16000):
        waveform = torch.randn(2, rate + 37, generator=torch.Generator().manual_seed(rate))
        with_torchaudio = LogMel(rate)
        assert "torchaudio" in with_torchaudio.source
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "torchaudio.transforms", None)
            without = LogMel(rate)
        assert isinstance(without.mel, PlainMelSpectrogram)
        assert "cannot be imported" in without.source
        torch.testing.assert_close(without(waveform), with_torchaudio(waveform), atol=1e-3, rtol=0)
    assert LogMel(8000)(torch.randn(1, 3)).shape == (1, 40, 4)  # a clip shorter than one window


def test_padding_counts_for_nothing() -> None:
    torch.manual_seed(0)
    model = VoiceNet(3).eval()
    features, lengths = torch.randn(2, 1, 40, 50), torch.tensor([50, 30])
    features[1, ..., 30:] = 0
    padded = torch.nn.functional.pad(features, (0, 70))
    torch.testing.assert_close(model(padded, lengths), model(features, lengths))


# ----------------------------------------------------------------------------------------------------- the workplace


def test_only_what_a_demo_made_is_deleted(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "out")
    with place.held():
        place.begin(keep=False)
        (place.run / "store").mkdir()
        place.begin(keep=True)
        assert (place.run / "store").exists()
        place.begin(keep=False)
        assert [path.name for path in place.run.iterdir()] == [MARK]
        with pytest.raises(DemoError, match="another demo is running"), Workplace(tmp_path / "out").held():
            pass
    theirs = tmp_path / "theirs"
    (theirs / "run" / "thesis").mkdir(parents=True)
    with pytest.raises(DemoError, match="no demo made it"):
        Workplace(theirs).begin(keep=False)
    assert (theirs / "run" / "thesis").exists()


# --------------------------------------------------------------------------------------------------------- the whole


def run_demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "demo.run", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """Two made-up voices of 24 recordings: harmonics of 110 Hz and of 210 Hz, loud and soft, high and low."""
    noise = np.random.default_rng(7)
    for speaker, pitch in (("anna-lena", 210.0), ("bertolt", 110.0)):
        folder = tmp_path / "voices" / speaker
        folder.mkdir(parents=True)
        for number in range(24):
            time_axis = np.arange(noise.integers(4000, 24000)) / 8000
            tone = sum(np.sin(2 * np.pi * pitch * k * time_axis * noise.uniform(0.97, 1.03)) / k for k in range(1, 8))
            sound = 0.1 * tone + 0.01 * noise.standard_normal(len(time_axis))
            soundfile.write(folder / f"sentence-{number:02}.wav", sound, 8000)
    return tmp_path / "voices"


def test_the_demo_on_an_own_folder_runs_again_after_a_kill(voices: Path, tmp_path: Path, own_home: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--corpus", str(voices), "--workdir", str(out), "--speaker-pattern", "{speaker}/*")
    before = sorted(own_home.rglob("*"))
    victim = subprocess.Popen(
        [sys.executable, "-m", "demo.run", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True
    )
    store = out / "run" / "store" / "demo-voices"
    while not (store / "head").exists():
        assert victim.poll() is None
        time.sleep(0.01)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    done = run_demo("--corpus", str(voices), "--workdir", str(out), SPEAKERS="{speaker}/*")
    assert done.returncode == 0, done.stdout + done.stderr
    for number in range(1, 10):
        assert f"\n{number}/9  " in done.stdout
    assert "Done in" in done.stdout
    assert (out / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(own_home.rglob("*")) == before  # neither keys nor configuration of the user's
    results = json.loads((out / "results.json").read_text())
    assert results["kms_calls"] == {"open": 1, "workers": 0}
    assert results["accuracy"] > results["baseline"]
    assert results["samples"] > 0
    assert results["found_in_store"] == 0
    assert results["erased"] > 0
    assert results["receipts"] == 2  # of the recordings, and of the features made of them
    assert len(list(voices.rglob("*.wav"))) == 48


def test_the_demo_does_not_guess_who_speaks(voices: Path, tmp_path: Path) -> None:
    done = run_demo("--corpus", str(voices), "--workdir", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "--speaker-pattern" in done.stderr  # the choices of `securedata encrypt`
    assert done.stderr.splitlines()[-1].startswith("demo: ")
    assert "SPEAKERS='{speaker}/*'" in done.stderr


@pytest.mark.full
@pytest.mark.timeout(900)
def test_packages_that_a_killed_run_has_fetched_are_used(tmp_path: Path) -> None:
    said: list[str] = []
    first = prompts.fetch_packages(tmp_path, said.append)
    assert any(line.startswith("Download: ") for line in said)
    files = [path for paths in first.values() for path in paths]
    assert len(files) == 6
    cut = files[-1]
    size = cut.stat().st_size
    cut.write_bytes(cut.read_bytes()[: size // 2])
    said.clear()
    assert prompts.fetch_packages(tmp_path, said.append) == first
    assert any("in 1 of 6 packages" in line for line in said)
    assert cut.stat().st_size == size
    said.clear()
    assert prompts.fetch_packages(tmp_path, said.append) == first
    assert said == []


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_demo_on_the_prompts(tmp_path: Path) -> None:
    done = run_demo("--workdir", str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["recordings"] > 1500
    assert results["accuracy"] > 0.9 > 0.5 > results["baseline"]
    assert results["found_in_store"] == 0
    assert results["seconds"] < 300
