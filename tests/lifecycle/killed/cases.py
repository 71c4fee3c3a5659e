"""Every command that changes what a corpus holds of people, each with what must be there before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from securedata.corpus.config import resolve
from securedata.corpus.create import create_corpus
from securedata.corpus.home import state_dir
from securedata.corpus.writer import Writer
from securedata.lifecycle.derived import register_derived
from tests.kit.corpora.contents import look
from tests.kit.corpora.recorded import filled
from tests.kit.corpora.rows import add, content, writer_of
from tests.kit.corpora.shared import share, talk
from tests.kit.killed import ran
from tests.kit.sources.recordings import Clip, clip

NAME, MADE, FEATURES = "voice-a", "made", "features-a"
_ENDED = datetime(2020, 5, 1, tzinfo=UTC)
_LONG_AGO = datetime(2019, 5, 1, tzinfo=UTC)
_BOTH = ["asr", "tts"]
_TORCH = ("torchaudio", "securedata.torch.dataset")

Words = tuple[str, ...]


def _clips() -> list[list[Clip]]:
    """In two commits: ann under two consents, of which one has ended, bob under the first, cid long ago."""
    return [
        [
            clip("ann/0.wav", 0.05, seed=0, consent_id="C1", purposes=_BOTH),
            clip("ann/1.wav", 0.05, seed=1, consent_id="C2", purposes=["asr"], expires=_ENDED),
            clip("bob/0.wav", 0.05, seed=2, speaker="bob", consent_id="C1", purposes=_BOTH),
        ],
        [
            clip("ann/2.wav", 0.05, seed=3, consent_id="C1", purposes=_BOTH),
            clip("cid/0.wav", 0.05, seed=4, speaker="cid", last_contact=_LONG_AGO),
        ],
    ]


def begin(folder: Path) -> None:
    """The corpus NAME in a folder, and files beside it that commands read."""
    kms = f"local://{folder}/keys/one.kek"
    first, second = _clips()
    root = filled(create_corpus(str(folder / NAME), NAME, kms=[kms]).reference, first)
    filled(root.reference, second)
    (folder / "people.txt").write_text("bob\ncid\n")
    (folder / "labels.csv").write_text("path,subjects,consent_id,purposes,transcript\nann/2.wav,ben,C3,asr,hello\n")


def _run(*words: str) -> None:
    done = ran(words)
    assert done.code == 0, done.said


def _operator(folder: Path) -> None:
    _run("operator", "init", "--name", "example.com/erasure")


def _second_wrap(folder: Path) -> None:
    _operator(folder)
    _run("wrap", "add", NAME, "--kms", _second(folder))


def _second(folder: Path) -> str:
    return f"local://{folder}/keys/two.kek"


def _held(folder: Path) -> None:
    _operator(folder)
    _run("hold", "add", NAME, "--subject", "ann", "--case", "7", "--reason", "a letter")


def _asked_while_held(folder: Path) -> None:
    _held(folder)
    assert ran(["erase", NAME, "--subject", "ann", "--request", "REQ-1"]).code == 3


def _ruled(folder: Path) -> None:
    _operator(folder)
    _run("retention", NAME, "--inactive", "3y")


def _without_ended(folder: Path) -> None:
    """No features are made of what has an ended consent."""
    _operator(folder)
    _run("remove", NAME, "ann/1.wav")


def _erased(folder: Path) -> None:
    _operator(folder)
    _run("erase", NAME, "--subject", "ann")


def _half_erased(folder: Path) -> None:
    """The process of an erasure is gone after its commit."""
    _operator(folder)
    at = 1
    while not look(resolve(NAME)).head.erasures:
        assert ran(["erase", NAME, "--subject", "ann"], at=at).code is None
        at += 7


def _derived(folder: Path) -> None:
    """A corpus that was made from it, with rows of the same people."""
    _operator(folder)
    made = create_corpus(str(folder / MADE), MADE, kms=[f"local://{folder}/keys/one.kek"]).reference
    register_derived(Writer(resolve(NAME)), writer_of(made).head)
    add(writer_of(made), {f"{name}/0": content(name) for name in ("ann", "bob", "cid")})


def _shared(folder: Path) -> None:
    """Two people share a recording."""
    _operator(folder)
    share(writer_of(resolve(NAME)), talk(0.5), [(0, 4000, "ann"), (4000, 4000, "ben")], "talk.wav")


def _packed(folder: Path) -> None:
    _operator(folder)
    _run("pack", NAME, "--now")


def _holed(folder: Path) -> None:
    _packed(folder)
    _run("remove", NAME, "ann/0.wav")


def _retain(folder: Path) -> Words:
    return ("retain", NAME, "--to", str(folder / FEATURES), "--features", "log-mel", "--workers", "0")


def _wavs(folder: Path) -> str:
    for number in range(2):
        one = clip(f"dan/{number}.wav", 0.05, seed=10 + number)
        path = folder / "wavs" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(one.data)
    return str(folder / "wavs")


def _receipt() -> str:
    [path] = (state_dir() / "receipts").rglob("*.receipt")
    return str(path)


@dataclass(frozen=True)
class Case:
    """One command.

    Attributes:
        words: its arguments.
        before: makes what it needs.
        gone: what a run may say, with an exit code of its own, after one that was killed when all was done.
        imports: modules that it loads and others do not.
    """

    words: Words | Callable[[Path], Words]
    before: Callable[[Path], object] = _operator
    gone: str = ""
    imports: tuple[str, ...] = ()

    def arguments(self, folder: Path) -> Words:
        return self.words(folder) if callable(self.words) else self.words


CASES: dict[str, Case] = {
    "rotate": Case(("rotate", NAME)),
    "rotate data keys": Case(("rotate", NAME, "--data-keys", "--threads", "1")),
    "wrap drop": Case(
        lambda folder: ("wrap", "drop", NAME, "--kms", _second(folder), "--rotate"), _second_wrap, gone="has no wrap by"
    ),
    "remove": Case(("remove", NAME, "ann/0.wav", "cid"), gone="2 paths match nothing"),
    "remove now": Case(("remove", NAME, "ann/0.wav", "--now"), gone="one path matches nothing"),
    "relabel": Case(lambda folder: ("relabel", NAME, str(folder / "labels.csv"))),
    "split": Case(("split", NAME, "--threads", "1"), _shared),
    "split now": Case(("split", NAME, "--threads", "1", "--now"), _shared),
    "pack": Case(("pack", NAME, "--size", "4k", "--threads", "1")),
    "pack now": Case(("pack", NAME, "--now", "--threads", "1")),
    "pack compact": Case(("pack", NAME, "--compact", "0", "--now", "--threads", "1"), _holed),
    "pack unpack": Case(("pack", NAME, "--unpack", "--now", "--threads", "1"), _packed),
    "encrypt pack": Case(
        lambda folder: ("encrypt", _wavs(folder), NAME, "--one-subject", "dan", "--pack", "--threads", "1")
    ),
    "erase packed": Case(("erase", NAME, "--subject", "ann", "--request", "REQ-1"), _packed),
    "hand on": Case(lambda folder: ("export", NAME, "--to-corpus", str(folder / MADE), "--threads", "1")),
    "hold add": Case(("hold", "add", NAME, "--subject", "ann", "--case", "7", "--reason", "a letter")),
    "hold add with derived": Case(("hold", "add", NAME, "--subject", "ann", "--case", "7"), _derived),
    "hold release": Case(("hold", "release", NAME, "--subject", "ann", "--case", "7"), _held),
    "hold release keep": Case(
        ("hold", "release", NAME, "--subject", "ann", "--case", "7", "--keep"), _asked_while_held
    ),
    "consent withdraw": Case(("consent", "withdraw", NAME, "--consent", "C1")),
    "consent withdraw erase": Case(("consent", "withdraw", NAME, "--consent", "C1", "--erase")),
    "consent withdraw erase with derived": Case(("consent", "withdraw", NAME, "--consent", "C1", "--erase"), _derived),
    "consent require": Case(("consent", "require", NAME)),
    "retention": Case(("retention", NAME, "--raw", "30d", "--inactive", "3y")),
    "retention apply": Case(("retention", NAME, "--apply"), _ruled),
    "retain": Case(_retain, imports=_TORCH),
    "retain erase raw": Case(lambda folder: (*_retain(folder), "--erase-raw"), _without_ended, imports=_TORCH),
    "erase subject": Case(("erase", NAME, "--subject", "ann", "--request", "REQ-1")),
    "erase with derived": Case(("erase", NAME, "--subject", "ann"), _derived),
    "erase path with derived": Case(("erase", NAME, "--path", "ann/0.wav"), _derived),
    "erase held": Case(("erase", NAME, "--subject", "ann", "--request", "REQ-1"), _held),
    "erase list": Case(lambda folder: ("erase", NAME, "--list", str(folder / "people.txt"))),
    "erase path": Case(("erase", NAME, "--path", "ann/0.wav")),
    "erase consent": Case(("erase", NAME, "--consent", "C1")),
    "erase expired": Case(("erase", NAME, "--expired")),
    "erase all": Case(("erase", NAME, "--all", "--yes", "5")),
    "erase readmit": Case(("erase", NAME, "--readmit", "ann", "--consent", "C9"), _erased),
    "erase finish": Case(("erase", NAME, "--finish"), _half_erased),
    "receipt complete": Case(
        lambda folder: ("receipt", "complete", _receipt(), NAME, "--stated", "backups=none"),
        _erased,
        gone="not the final one|No such file",
    ),
    "operator init": Case(("operator", "init", "--name", "example.com/erasure"), lambda folder: None),
}
