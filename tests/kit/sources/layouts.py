"""Small trees that look like known corpora, with real recordings, and the rows that come of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.kit.sources.folders import RATE, jsonl, record, text


class Row(NamedTuple):
    """What a row of the corpus says of one recording."""

    speaker: str
    utterance: str
    transcript: str = ""
    split: str = ""
    language: str = ""
    extra: dict[str, Any] | None = None


Made = dict[str, Row]


def vctk_092(root: Path) -> Made:
    """Both microphones; p315 has no texts; s5 is a person."""
    rows: Made = {}
    text(
        root / "speaker-info.txt",
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS\np225  23  F    English    Southern  England\n"
        "s5  18  M    American    New Jersey (mic2 files unavailable)\n",
    )
    more = {
        "p225": {"age": "23", "gender": "F", "accent": "English", "region": "Southern England"},
        "s5": {
            "age": "18",
            "gender": "M",
            "accent": "American",
            "region": "New Jersey",
            "comment": "mic2 files unavailable",
        },
    }
    for seed, (speaker, mic) in enumerate((("p225", 1), ("p225", 2), ("p315", 1), ("s5", 1))):
        path = f"wav48_silence_trimmed/{speaker}/{speaker}_001_mic{mic}.flac"
        record(root / path, seed=seed)
        words = "" if speaker == "p315" else f"Please call {speaker}."
        if words:
            text(root / f"txt/{speaker}/{speaker}_001.txt", words + "\n")
        extra = {"mic": f"mic{mic}", **({"newline": "\n"} if words else {}), **more.get(speaker, {})}
        rows[path] = Row(speaker, f"{speaker}_001", words, "", "en", extra)
    text(root / "wav48_silence_trimmed/log.txt", "p225_001_mic1 0.1 2.0\n")
    return rows


def vctk_080(root: Path) -> Made:
    record(root / "wav48/p226/p226_003.wav", seed=1)
    text(root / "txt/p226/p226_003.txt", "Six spoons of fresh snow peas.\n")
    return {
        "wav48/p226/p226_003.wav": Row(
            "p226", "p226_003", "Six spoons of fresh snow peas.", "", "en", {"newline": "\n"}
        )
    }


def voxceleb1(root: Path) -> Made:
    text(
        root / "vox1_meta.csv",
        "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\tA.J._Buckley\tm\tIreland\tdev\n"
        "id10270\tEartha_Kitt\tf\tUSA\ttest\n",
    )
    record(root / "wav/id10001/1zcIwhmdeo4/00001.wav", seed=1)
    record(root / "wav/id10270/5r0dWxy17C8/00001.wav", seed=2)
    return {
        "wav/id10001/1zcIwhmdeo4/00001.wav": Row(
            "id10001",
            "id10001/1zcIwhmdeo4/00001",
            split="dev",
            extra={"video": "1zcIwhmdeo4", "gender": "m", "nationality": "Ireland", "name": "A.J._Buckley"},
        ),
        "wav/id10270/5r0dWxy17C8/00001.wav": Row(
            "id10270",
            "id10270/5r0dWxy17C8/00001",
            split="test",
            extra={"video": "5r0dWxy17C8", "gender": "f", "nationality": "USA", "name": "Eartha_Kitt"},
        ),
    }


def common_voice(root: Path) -> Made:
    """Train counts before validated, validated before invalidated; what no table names is a problem."""
    head = "client_id\tpath\tsentence_id\tsentence\tup_votes\tlocale\n"

    def line(who: str, number: int) -> str:
        return f"{who}\tcommon_voice_br_{number}.mp3\ts{number}\tDemat {number}\t2\tbr\n"

    for name, rows in {
        "train.tsv": line("aa", 1),
        "dev.tsv": line("bb", 2),
        "test.tsv": line("cc", 3),
        "validated.tsv": line("aa", 1) + line("bb", 2) + line("cc", 3) + line("aa", 4),
        "invalidated.tsv": line("bb", 5),
        "other.tsv": line("dd", 6),
    }.items():
        text(root / name, head + rows)
    text(root / "clip_durations.tsv", "clip\tduration[ms]\ncommon_voice_br_1.mp3\t100\n")
    made: Made = {}
    people = {1: ("aa", "train"), 2: ("bb", "dev"), 3: ("cc", "test"), 4: ("aa", "validated"), 5: ("bb", "invalidated")}
    for number, (who, split) in {**people, 6: ("dd", "other")}.items():
        path = f"clips/common_voice_br_{number}.mp3"
        record(root / path, seed=number)
        tables = {split: 2} if split != "validated" else {}
        if number <= 4:
            tables["validated"] = number + 1
        extra = {"tables": tables, "locale": "br", "sentence_id": f"s{number}", "up_votes": "2"}
        made[path] = Row(who, f"common_voice_br_{number}", f"Demat {number}", split, "br", extra)
    return made


def libritts(root: Path) -> Made:
    folder = "LibriTTS/dev-clean/84/121123"
    record(root / folder / "84_121123_000008_000000.wav", seed=1)
    record(root / folder / "84_121123_000008_000001.wav", seed=2)
    text(root / folder / "84_121123_000008_000000.normalized.txt", "Doctor who?")
    text(root / folder / "84_121123_000008_000000.original.txt", "Dr. who?")
    text(root / folder / "84_121123_000008_000001.normalized.txt", "Nobody.")
    text(root / folder / "84_121123_000008_000001.original.txt", "Nobody.")
    return {
        f"{folder}/84_121123_000008_000000.wav": Row(
            "84",
            "84_121123_000008_000000",
            "Doctor who?",
            "dev-clean",
            "en",
            {"chapter": "121123", "original": "Dr. who?"},
        ),
        f"{folder}/84_121123_000008_000001.wav": Row(
            "84", "84_121123_000008_000001", "Nobody.", "dev-clean", "en", {"chapter": "121123"}
        ),
    }


def ljspeech(root: Path) -> Made:
    for number in (1, 2):
        record(root / f"wavs/LJ001-000{number}.wav", seed=number)
    text(
        root / "metadata.csv",
        'LJ001-0001|Printing, in 1456|Printing, in fourteen fifty-six\nLJ001-0002|"a" word|"a" word\n',
    )
    return {
        "wavs/LJ001-0001.wav": Row(
            "LJSpeech",
            "LJ001-0001",
            "Printing, in fourteen fifty-six",
            "",
            "en",
            {"original": "Printing, in 1456", "line": "1"},
        ),
        "wavs/LJ001-0002.wav": Row("LJSpeech", "LJ001-0002", '"a" word', "", "en", {"line": "2"}),
    }


def timit(root: Path) -> Made:
    made: Made = {}
    for seed, (split, speaker) in enumerate((("TRAIN", "FCJF0"), ("TEST", "MDAB0"))):
        folder = f"{split}/DR1/{speaker}"
        record(root / folder / "SA1.WAV", seed=seed, format="NIST")
        text(root / folder / "SA1.TXT", "0 46797 She had your dark suit in greasy wash water all year.\n")
        text(root / folder / "SA1.WRD", "0 100 she\n")
        text(root / folder / "SA1.PHN", "0 100 h#\n")
        words = "She had your dark suit in greasy wash water all year."
        made[f"{folder}/SA1.WAV"] = Row(speaker, f"{speaker}_SA1", words, split.lower(), "en", {"dialect": "DR1"})
    return made


def lhotse_recording(id: str, *sources: str, seconds: float = 0.1) -> dict[str, Any]:
    """One line of a manifest of recordings; each of several sources is a channel."""
    files = [{"type": "file", "channels": [n], "source": source} for n, source in enumerate(sources)]
    return {
        "id": id,
        "sources": files,
        "sampling_rate": RATE,
        "num_samples": round(seconds * RATE),
        "duration": seconds,
        "channel_ids": list(range(len(sources))),
    }


def supervision(id: str, of: str, start: float, duration: float, **more: Any) -> dict[str, Any]:
    """One line of a manifest of supervisions."""
    return {"id": id, "recording_id": of, "start": start, "duration": duration, "channel": 0, **more}


def lhotse(root: Path) -> Made:
    """Two splits in which one id means two recordings; `talk` has two people, one after the other."""
    for seed, name in enumerate(("train/a", "train/talk", "dev/a")):
        record(root / f"audio/{name}.wav", seed=seed)
    manifests = root / "manifests"
    jsonl(
        manifests / "x_recordings_train.jsonl.gz",
        lhotse_recording("a", "audio/train/a.wav"),
        lhotse_recording("call-1", str(root / "audio/train/talk.wav")),
    )
    jsonl(
        manifests / "x_supervisions_train.jsonl.gz",
        supervision("a-0", "a", 0, 0.1, text="Ää.", language="English", speaker="ann", gender="F", custom={"snr": 2.5}),
        supervision("call-1-0", "call-1", 0.0, 0.05, text="Hello.", speaker="ann"),
        supervision("call-1-1", "call-1", 0.05, 0.05, text="Yes?", speaker="bob"),
    )
    jsonl(manifests / "x_recordings_dev-other.jsonl", lhotse_recording("a", "audio/dev/a.wav"))
    jsonl(manifests / "x_supervisions_dev-other.jsonl", supervision("d", "a", 0.02, 0.05, text="So.", speaker="cy"))
    jsonl(manifests / "x_cuts_train.jsonl.gz", {"id": "not read", "start": 0, "duration": 1, "type": "MonoCut"})
    call = {"channel": 0, "recording_id": "call-1"}
    return {
        "audio/train/a.wav": Row(
            "ann", "a-0", "Ää.", "train", "English", {"channel": 0, "gender": "F", "custom": {"snr": 2.5}}
        ),
        "audio/train/talk@0-400.wav": Row("ann", "call-1-0", "Hello.", "train", "", call),
        "audio/train/talk@400-800.wav": Row("bob", "call-1-1", "Yes?", "train", "", call),
        "audio/dev/a@160-560.wav": Row("cy", "d", "So.", "dev-other", "", {"channel": 0}),
    }


def lhotse_cuts(root: Path) -> Made:
    """Cuts with their recordings inside; supervisions count from the start of the cut."""
    for seed, name in enumerate(("one", "two")):
        record(root / f"{name}.wav", seed=seed)
    whole = supervision("one-0", "one", 0.0, 0.1, text="One.", speaker="ann", gender="F")
    part = {**supervision("two-0", "two", 0.01, 0.04, text="Two.", speaker="bob"), "channel": [0]}
    cut = {"id": "c1", "start": 0, "duration": 0.1, "channel": 0, "type": "MonoCut"}
    jsonl(
        root / "cuts_test.jsonl.gz",
        {**cut, "supervisions": [whole], "recording": lhotse_recording("one", "one.wav"), "custom": {"shard": 1}},
        {
            **cut,
            "id": "c2",
            "start": 0.04,
            "duration": 0.06,
            "channel": [0],
            "type": "MultiCut",
            "supervisions": [part],
            "recording": lhotse_recording("two", "two.wav"),
        },
    )
    return {
        "one.wav": Row("ann", "one-0", "One.", "test", "", {"channel": 0, "gender": "F", "cut": {"shard": 1}}),
        "two@400-720.wav": Row("bob", "two-0", "Two.", "test", "", {"channel": [0]}),
    }


def kaldi(root: Path) -> Made:
    """Two data directories: train is cut into segments, of one and of two people; test has whole recordings."""
    for seed, name in enumerate(("talk", "both", "spare")):
        record(root / f"wav/{name}.wav", seed=seed)
    train, test = root / "data/train", root / "data/test"
    text(train / "wav.scp", f"rec-b wav/both.wav\nrec-t {root}/wav/talk.wav\n")
    text(train / "segments", "u1 rec-t 0 0.05\nu2 rec-t 0.05 -1\nu3 rec-b 0.01 0.04\nu4 rec-b 0.05 0.09\n")
    text(train / "utt2spk", "u1 ann\nu2 ann\nu3 ann\nu4 bob\n")
    text(train / "spk2utt", "ann u1 u2 u3\nbob u4\n")
    text(train / "text", "u1 good day\nu2 and night\nu3 hello\nu4 hi  there\n")
    text(train / "spk2gender", "ann f\nbob m\n")
    text(train / "reco2dur", "rec-b 0.1\nrec-t 0.1\n")
    text(test / "wav.scp", "u5 wav/spare.wav\n")
    text(test / "utt2spk", "u5 cat\n")
    text(test / "utt2lang", "u5 br\n")
    text(test / "text", "u5 demat\n")
    return {
        "wav/talk@0-400.wav": Row("ann", "u1", "good day", "train", "", {"gender": "f"}),
        "wav/talk@400-800.wav": Row("ann", "u2", "and night", "train", "", {"gender": "f"}),
        "wav/both@80-320.wav": Row("ann", "u3", "hello", "train", "", {"gender": "f"}),
        "wav/both@400-720.wav": Row("bob", "u4", "hi  there", "train", "", {"gender": "m"}),
        "wav/spare.wav": Row("cat", "u5", "demat", "test", "br"),
    }


def stm(root: Path) -> Made:
    """A talk of one person with gaps, and one of two people."""
    record(root / "train/sph/AnnLee_2009.sph", seed=1, format="NIST")
    record(root / "test/sph/BobRoy_2010.sph", seed=2, format="NIST")
    text(
        root / "train/stm/AnnLee_2009.stm",
        ";; a comment\n"
        "AnnLee_2009 1 inter_segment_gap 0 0.02 <o,,unknown> ignore_time_segment_in_scoring\n"
        "AnnLee_2009 1 AnnLee 0.02 0.05 <o,f0,female> i 'd like <unk>\n"
        "AnnLee_2009 1 AnnLee 0.05 0.06 <o,f0,female> ignore_time_segment_in_scoring\n"
        "AnnLee_2009 1 AnnLee 0.06 0.1 <o,f0,female> to share\n",
    )
    text(
        root / "test/stm/BobRoy_2010.stm",
        "BobRoy_2010 1 BobRoy 0.01 0.05 <o,f0,male> thank you\nBobRoy_2010 A Host 0.05 0.09 <unk> welcome\n",
    )
    return {
        "train/sph/AnnLee_2009@160-400.sph": Row(
            "AnnLee", "AnnLee_2009@160-400", "i 'd like <unk>", "train", "", {"labels": "o,f0,female"}
        ),
        "train/sph/AnnLee_2009@480-800.sph": Row(
            "AnnLee", "AnnLee_2009@480-800", "to share", "train", "", {"labels": "o,f0,female"}
        ),
        "test/sph/BobRoy_2010@80-400.sph": Row(
            "BobRoy", "BobRoy_2010@80-400", "thank you", "test", "", {"labels": "o,f0,male"}
        ),
        "test/sph/BobRoy_2010@400-720.sph": Row(
            "Host", "BobRoy_2010@400-720", "<unk> welcome", "test", "", {"channel": "A"}
        ),
    }


LAYOUTS: dict[str, tuple[str, Callable[[Path], Made]]] = {
    "VCTK 0.92": ("vctk", vctk_092),
    "VCTK 0.80": ("vctk", vctk_080),
    "VoxCeleb 1": ("voxceleb", voxceleb1),
    "Common Voice": ("commonvoice", common_voice),
    "LibriTTS": ("libritts", libritts),
    "LJ Speech": ("ljspeech", ljspeech),
    "TIMIT": ("timit", timit),
    "Lhotse": ("lhotse", lhotse),
    "Lhotse cuts": ("lhotse", lhotse_cuts),
    "Kaldi": ("kaldi", kaldi),
    "TED-LIUM": ("stm", stm),
}
"""Name -> the name of its layout, and what makes a tree of it."""
