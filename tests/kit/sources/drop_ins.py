"""Small trees as torchaudio's datasets expect them, lists and texts included, at 16 kHz."""

from __future__ import annotations

from pathlib import Path

from tests.kit.sources.folders import text
from tests.kit.sources.recordings import encode, noise

RATE = 16_000


def _record(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(noise(0.02 + seed % 3 / 100, RATE, seed=seed), RATE, path.suffix[1:].upper()))


def librispeech(root: Path) -> None:
    """Two parts, speakers and chapters whose numbers sort otherwise than their names."""
    seed = 0
    for part, speaker, chapter, count in (
        ("dev-clean", 84, 121123, 3),
        ("dev-clean", 9, 12, 2),
        ("dev-clean", 84, 7, 1),
        ("train-clean-100", 103, 1240, 2),
    ):
        folder = root / f"LibriSpeech/{part}/{speaker}/{chapter}"
        lines = ""
        for number in range(count):
            name = f"{speaker}-{chapter}-{number:04d}"
            _record(folder / f"{name}.flac", seed := seed + 1)
            lines += f"{name} CHAPTER {chapter} LINE {number}\n"
        text(folder / f"{speaker}-{chapter}.trans.txt", lines)
    text(root / "LibriSpeech/SPEAKERS.TXT", ";ID |SEX\n84 | F\n")


def speech_commands(root: Path) -> None:
    """Lists that are not sorted, and a noise that is no item."""
    folder = root / "SpeechCommands/speech_commands_v0.02"
    names = [
        f"{label}/{who}_nohash_{number}.wav"
        for label in ("bed", "zero", "Bird")
        for who, number in (("ffa076c3", 0), ("0a7c2a8d", 0), ("0a7c2a8d", 1), ("0b09edd3", 10))
    ]
    for seed, name in enumerate(names):
        _record(folder / name, seed)
    _record(folder / "_background_noise_/white_noise.wav", 99)
    text(folder / "validation_list.txt", f"{names[5]}\n{names[0]}\n")
    text(folder / "testing_list.txt", f"{names[8]}\n{names[1]}\n{names[6]}\n")


def libritts(root: Path) -> None:
    """Texts with and without a line end, and with blanks at an end."""
    seed = 20
    for speaker, chapter, names in (
        ("84", "121123", ("000008_000000", "000008_000001")),
        ("9", "1", ("000001_000000",)),
    ):
        folder = root / f"LibriTTS/dev-clean/{speaker}/{chapter}"
        for number, name in enumerate(names):
            stem = f"{speaker}_{chapter}_{name}"
            _record(folder / f"{stem}.wav", seed := seed + 1)
            text(folder / f"{stem}.original.txt", ("Dr. who?", "Nobody.\n", " Mr. X. ")[number])
            text(folder / f"{stem}.normalized.txt", ("Doctor who?", "Nobody.", "Mister X.")[number])


def speech_of_one(root: Path) -> None:
    """LJ Speech whose table is not sorted by name; one text is the same twice."""
    lines = ("LJ002-0001|Printing, in 1456|Printing, in fourteen fifty-six", 'LJ001-0002|"a" word|"a" word')
    for seed, line in enumerate((*lines, "LJ001-0001|no|no")):
        _record(root / f"LJSpeech-1.1/wavs/{line[:10]}.wav", seed + 30)
    text(root / "LJSpeech-1.1/metadata.csv", "\n".join((*lines, "LJ001-0001|no|no")) + "\n")


def vctk(root: Path) -> None:
    """Both microphones; p280 has one, p315 has no words; a text of two lines, and one without a line end."""
    folder = root / "VCTK-Corpus-0.92"
    seed = 40
    for speaker, texts in {
        "p225": ("Please call Stella.\n", "Ask her.\nNow.\n"),
        "p226": ("Six spoons.",),
        "p280": ("Fresh snow.\n",),
        "p315": ("",),
        "s5": ("Bob.\n",),
    }.items():
        for number, words in enumerate(texts, 1):
            name = f"{speaker}/{speaker}_{number:03d}"
            if words:
                text(folder / f"txt/{name}.txt", words)
            for mic in ("mic1", "mic2") if speaker != "p280" else ("mic1",):
                _record(folder / f"wav48_silence_trimmed/{name}_{mic}.flac", seed := seed + 1)
    text(
        folder / "speaker-info.txt",
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS\np225  23  F    English    Southern  England\n",
    )


def common_voice(root: Path) -> None:
    """Clips in one table and in two, in another order in each, with empty columns."""
    head = "client_id\tpath\tsentence_id\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\tsegment\n"

    def line(who: str, number: int, age: str = "") -> str:
        return f"{who}\tcommon_voice_br_{number}.mp3\ts{number}\tDemat {number}\t2\t0\t{age}\t\t\tbr\t\n"

    for number in range(1, 6):
        _record(root / f"clips/common_voice_br_{number}.mp3", number + 50)
    text(root / "train.tsv", head + line("aa", 3, "twenties") + line("aa", 1))
    text(root / "dev.tsv", head + line("bb", 2) + line("cc", 4))
    text(
        root / "validated.tsv", head + "".join(line(who, n) for who, n in (("cc", 4), ("aa", 1), ("bb", 2), ("dd", 5)))
    )


def voxceleb(root: Path) -> None:
    """Three subsets, by a list that is not sorted."""
    names = [
        f"id{speaker}/{video}/{number:05d}.wav"
        for speaker, video in ((10270, "5r0dWxy17C8"), (10001, "1zcIwhmdeo4"), (10003, "na8-QEFmj44"))
        for number in range(1, 4)
    ]
    for seed, name in enumerate(names):
        _record(root / "wav" / name, seed + 60)
    text(root / "iden_split.txt", "".join(f"{1 + n % 3} {name}\n" for n, name in enumerate(names)))
