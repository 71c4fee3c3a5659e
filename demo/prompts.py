"""Real voices for the demo: Debian's English, French and Spanish telephone prompts (CC-BY-SA).

apt downloads and authenticates the packages, and dpkg-deb unpacks them into the demo's own folder. Nothing is
installed, root is not needed, and the system's apt state is only read. If its package lists are missing or stale, apt
downloads lists into the demo's folder.
"""

from __future__ import annotations

import csv
import gzip
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from demo import DemoError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Voice:
    language: str
    speaker: str  # the person, from the package's copyright file
    voice: str  # the label that the model learns


# The copyright file credits June Wallack with the French prompts, and Allison Smith with all that it does not list: the
# English and the Spanish ones. So two of the three voices are one person. The speaker, whom an erasure would name, is
# the person, not the folder.
VOICES = (
    Voice("en", "Allison Smith", "allison-en"),
    Voice("fr", "June Wallack", "june-fr"),
    Voice("es", "Allison Smith", "allison-es"),
)
# Tones, silence and screaming monkeys: there is no voice in them, and some are the same recording in every language.
NO_VOICE = frozenset(
    ["ascending-2tone", "descending-2tone", "beep", "beeperr", "confbridge-join", "confbridge-leave", "tt-monkeys"]
)
COLUMNS = ("path", "speaker", "voice", "text", "language")
TABLE = "prompts.tsv"
OWN_FOLDER = "use a folder of your own recordings instead: make demo CORPUS=DIR SPEAKERS='{speaker}/{utterance}'"


@dataclass(frozen=True)
class Prompt:
    path: str  # relative to the table, '/'-separated
    speaker: str
    voice: str
    text: str  # '' where the package has none
    language: str


def get_voices(folder: Path, say: Say = print) -> Path:
    """Return the folder `voices` with the recordings and `prompts.tsv`, and fetch them if they are not there.

    Everything is written under another name, and the table last, so that a killed run is repeated in full.
    """
    voices = folder / "voices"
    if (voices / TABLE).is_file():
        say(f"already here: {voices}")
        return voices
    folder.mkdir(parents=True, exist_ok=True)
    building = folder / "voices.part"
    shutil.rmtree(building, ignore_errors=True)
    debs = fetch_packages(folder / "packages", say)
    for voice in VOICES:
        unpacked = folder / "unpacked.part"
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir()
        for deb in debs[voice.language]:
            unpack(deb, unpacked)
        take_recordings(unpacked, building, voice)
        shutil.rmtree(unpacked)
    write_table(building / TABLE, list(read_prompts(building)))
    for leftover in building.glob("*/transcripts.txt"):
        leftover.unlink()
    shutil.rmtree(voices, ignore_errors=True)
    building.rename(voices)
    shutil.rmtree(folder / "packages")
    return voices


def package_names(language: str) -> tuple[str, str]:
    """The package with the recordings, and the one whose documentation has their texts."""
    return f"asterisk-core-sounds-{language}-wav", f"asterisk-core-sounds-{language}"


def fetch_packages(folder: Path, say: Say) -> dict[str, list[Path]]:
    """Download the six packages into `folder` with apt, which checks signatures and digests."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise DemoError(f"the demo's recordings are Debian packages, and there is no {tool} here; {OWN_FOLDER}")
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for voice in VOICES for name in package_names(voice.language)]
    apt = Apt(folder, say)
    try:
        return _download(apt, folder, names, say)
    except AptFailed as failed:
        say("The package lists of this machine are missing or out of date: apt downloads new ones (10 to 40 MB)")
        say(f"into {folder}; the system's own are not changed.")
        try:
            apt.update()
            return _download(apt, folder, names, say)
        except AptFailed as again:
            raise DemoError(f"apt cannot get the recordings ({again}; before that: {failed}); {OWN_FOLDER}") from again


def _download(apt: Apt, folder: Path, names: list[str], say: Say) -> dict[str, list[Path]]:
    files = apt.files(names)
    missing = {name: size for name, size in files.items() if not _complete(folder / name, size)}
    if missing:
        size = sum(missing.values()) / 1e6
        say(f"Download: {size:.1f} MB in {len(missing)} of {len(files)} packages, with apt, into {folder}")
        apt.run(["download", *names])
    for name, size in files.items():
        if not _complete(folder / name, size):
            raise AptFailed(f"apt-get download left {name} incomplete")
    return {
        voice.language: [folder / name for name in files if name.split("_")[0] in package_names(voice.language)]
        for voice in VOICES
    }


def _complete(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


class AptFailed(Exception):
    """apt-get ended with an error, which is the text."""


class Apt:
    """apt-get as any user: with the system's package lists or, after `update`, with lists of its own."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder = folder
        self.say = say
        self.options = ["-oAcquire::Retries=2", "-oAcquire::http::Timeout=30", "-oAcquire::https::Timeout=30"]

    def update(self) -> None:
        for name in ("lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        config = self.folder / "apt.conf"
        # Distributions and container images add hooks to apt, which need root and change the system.
        hooks = ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success", "Post-Invoke-Stats")
        config.write_text(
            "".join(f"#clear APT::Update::{hook};\n" for hook in hooks)
            + f'Dir::State::Lists "{self.folder.resolve()}/lists";\nDir::Cache "{self.folder.resolve()}/cache";\n'
            'Acquire::Languages "none";\nAPT::Get::List-Cleanup "false";\n'
        )
        self.options += ["-c", str(config.resolve())]
        try:
            self.run(["update"])
        except AptFailed as error:
            # One unreachable third-party source fails the whole update, but the prompts may still be known.
            self.say(f"apt-get update: {error}; continuing with the lists that it got")

    def files(self, names: list[str]) -> dict[str, int]:
        """File name and size in bytes of each package, in the order of `names`."""
        found = dict(parse_uris(self._read(["download", "--print-uris", *names])))
        ordered = {file: size for name in names for file, size in found.items() if file.startswith(name + "_")}
        if len(ordered) != len(names):
            raise AptFailed(f"apt lists {len(ordered)} files for {len(names)} packages")
        return ordered

    def run(self, arguments: list[str]) -> None:
        """Run apt-get in the folder, and show its output line by line."""
        command = ["apt-get", "-q", *self.options, *arguments]
        environment = {**os.environ, "LC_ALL": "C"}
        problem = ""
        with subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                # As root, apt warns of downloading without its sandbox user; that would only confuse.
                if line.strip() and "unsandboxed" not in line:
                    self.say(line.rstrip())
                if line.startswith(("E:", "Err")):
                    problem = line.strip()
        if process.returncode != 0:
            raise AptFailed(problem or f"apt-get {arguments[0]} ended with {process.returncode}")

    def _read(self, arguments: list[str]) -> str:
        command = ["apt-get", "-q", *self.options, *arguments]
        environment = {**os.environ, "LC_ALL": "C"}
        # In an empty folder: apt omits packages whose file is already in the current one.
        with tempfile.TemporaryDirectory(dir=self.folder) as empty:
            done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"apt-get ended with {done.returncode}"]
            raise AptFailed(lines[0])
        return done.stdout


def parse_uris(printed: str) -> Iterator[tuple[str, int]]:
    """File name and size from the lines of `apt-get download --print-uris`: 'URI' NAME SIZE HASH."""
    for line in printed.splitlines():
        if line.startswith("'"):
            _, name, size, *_ = shlex.split(line)
            yield name, int(size)


def unpack(deb: Path, folder: Path) -> None:
    done = subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        deb.unlink()  # so that the next run fetches it again
        raise DemoError(f"dpkg-deb cannot unpack {deb.name}: {done.stderr.strip()}; run make demo again")


def take_recordings(unpacked: Path, building: Path, voice: Voice) -> None:
    """Move the recordings of one voice to `building/LANGUAGE/`, with its texts beside them."""
    homes = [path for path in (unpacked / "usr/share/asterisk/sounds").glob(f"{voice.language}_*") if path.is_dir()]
    texts = list((unpacked / "usr/share/doc").glob(f"*/core-sounds-{voice.language}.txt.gz"))
    if len(homes) != 1 or len(texts) != 1:
        raise DemoError(f"the {voice.language} packages have a layout that this demo does not know; {OWN_FOLDER}")
    building.mkdir(exist_ok=True)
    target = building / voice.language
    homes[0].rename(target)
    shutil.rmtree(target / "silence", ignore_errors=True)
    for prompt in NO_VOICE:
        (target / f"{prompt}.wav").unlink(missing_ok=True)
    (target / "transcripts.txt").write_bytes(gzip.decompress(texts[0].read_bytes()))


def parse_transcripts(lines: Iterable[str]) -> dict[str, str]:
    """Text by prompt id, from lines of `id: text`. ';' begins a comment; a few French lines end with a stray quote."""
    texts = {}
    for line in lines:
        prompt, colon, text = line.partition(":")
        if colon and not line.startswith(";"):
            texts[prompt.strip()] = re.sub(r"\s+", " ", text).strip(' "')
    return texts


def read_prompts(building: Path) -> Iterator[Prompt]:
    """One row for each recording, in order. Recordings without a text have '', and are still used for training."""
    for voice in VOICES:
        home = building / voice.language
        texts = parse_transcripts((home / "transcripts.txt").read_text(encoding="utf-8").splitlines())
        for wav in sorted(home.rglob("*.wav")):
            prompt = wav.relative_to(home).with_suffix("").as_posix()
            path = wav.relative_to(building).as_posix()
            yield Prompt(path, voice.speaker, voice.voice, texts.get(prompt, ""), voice.language)


def write_table(path: Path, prompts: list[Prompt]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        # `securedata encrypt` reads a TSV without quoting; no text here holds a tab or a line end.
        writer = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        writer.writerow(COLUMNS)
        writer.writerows([getattr(prompt, column) for column in COLUMNS] for prompt in prompts)
