"""What a user wrote, or a debugging aid prints, shows no secret: signed URLs, passwords in URLs, whole requests."""

from __future__ import annotations

import http.client
import json
import pickle
import threading
from pathlib import Path

import pytest
import requests

from securedata.errors import InvalidArgument, StorageUnreachable
from securedata.foreign.quiet import quiet
from securedata.printable import without_secrets_within
from tests.kit.cli.commandline import Run
from tests.kit.cloud.forward import Handler, answering
from tests.kit.secrets import held
from tests.kit.sources.recordings import clip

SECRET = "ZECR3T"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("memory://h/x?sig=ZECR3T holds nothing", "memory://h/x?... holds nothing"),
        ("the first 'https://me:ZECR3T@h/a', and", "the first 'https://...@h/a', and"),
        ('"https://h/a#ZECR3T"; two: http://h/?ZECR3T.', '"https://h/a?..."; two: http://h/?...'),
        ("(s3://b/k?versionId=ZECR3T): no", "(s3://b/k?...): no"),
        ("s3://b/data@v2/head: write https://HOST:PORT, [::1]", "s3://b/data@v2/head: write https://HOST:PORT, [::1]"),
        ("what? me@home", "what? me@home"),
    ],
)
def test_a_url_within_a_text_is_shown_without_its_secrets(text: str, shown: str) -> None:
    assert without_secrets_within(text) == shown
    assert without_secrets_within(shown) == shown
    error = StorageUnreachable(text)
    assert str(error) == shown
    assert str(pickle.loads(pickle.dumps(error))) == shown


def test_a_long_word_is_looked_at_once() -> None:
    text = "x" * 1_000_000
    assert without_secrets_within(f"{text} s3://b/k") == f"{text} s3://b/k"


# ------------------------------------------------------------------------------------------- the command


@pytest.fixture
def src(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "u.wav").write_bytes(clip("u.wav", 0.1).data)
    (folder / "signed.jsonl").write_text(
        json.dumps({"audio_filepath": f"https://h/x y.wav?X-Amz-Signature={SECRET}", "speaker": "ann"}) + "\n"
    )
    (folder / "password.csv").write_text(f"path,speaker\nhttps://me:{SECRET}@h/x.wav,ann\nu.wav,ann\n")
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ("encrypt", f"memory://{SECRET}@h/x", "DEST", "--one-subject", "x", "--source-region", "r"),
        ("encrypt", f"memory://h/x?sig={SECRET}", "DEST", "--one-subject", "x"),
        ("encrypt", f"memory://h/x?sig={SECRET}", "DEST", "--one-subject", "x", "--source-profile", "p"),
        ("encrypt", "SRC", "DEST", "--one-subject", "x", "--manifest", f"memory://h/m.csv?sig={SECRET}"),
        ("encrypt", "SRC", "DEST", "--manifest", "SRC/signed.jsonl"),
        ("encrypt", "SRC", "DEST", "--manifest", "SRC/password.csv"),
        ("encrypt", "SRC", "DEST", "--one-subject", "x", "--known-bad", f"https://h/k?sig={SECRET}"),
        ("encrypt", "SRC", "DEST", "--one-subject", "x", "--write-bad", f"https://me:{SECRET}@h/k"),
        ("init", "DEST", "--name", f"https://me:{SECRET}@h"),
        ("ls", "DEST", "--kms", f"local://h?token={SECRET}"),
        ("ls", "DEST", "--pin", f"https://me:{SECRET}@h"),
        ("ls", "DEST", f"--token={SECRET}"),
        ("encrypt", "SRC", "DEST", "--vault-token", SECRET),
    ],
    ids=lambda one: " ".join(word for word in one[3:] or one),
)
@pytest.mark.parametrize("more", [(), ("--json",)], ids=["", "json"])
def test_what_an_option_or_a_manifest_holds_is_not_shown(
    arguments: tuple[str, ...], more: tuple[str, ...], src: Path, tmp_path: Path, run: Run
) -> None:
    places = {"SRC": str(src), "DEST": str(tmp_path / "corpus")}
    given = [word.replace("SRC", places["SRC"]) if word != "DEST" else places["DEST"] for word in arguments]
    if more and arguments[0] != "encrypt":
        more = ()
    done = run(*given, *more)
    assert done.code in (1, 2)
    assert done.err
    assert "Traceback" not in done.err
    assert not held(done.out + done.err, [SECRET])


def test_a_word_too_many_is_named(run: Run, tmp_path: Path) -> None:
    done = run("ls", str(tmp_path), "one", "two", "three")
    assert done.code == 2
    assert "unrecognized arguments: two three" in done.err or "unrecognized arguments: one two three" in done.err


def test_the_list_of_what_was_not_taken_holds_no_signature(src: Path, tmp_path: Path, run: Run) -> None:
    bad = tmp_path / "bad"
    done = run(
        "encrypt", str(src), str(tmp_path / "c"), "--manifest", str(src / "password.csv"), "--write-bad", str(bad)
    )
    assert done.code == 1
    assert "https://...@h/x.wav" in bad.read_text()
    assert not held(done.out + done.err + bad.read_text(), [SECRET])
    again = run(
        "encrypt", str(src), str(tmp_path / "c"), "--manifest", str(src / "password.csv"), "--known-bad", str(bad)
    )
    assert again.code == 0, again.err


# ------------------------------------------------------------------------------------------- http.client's debuglevel


class Ok(Handler):
    def answer(self, body: bytes) -> None:
        self.say(200, b"{}")


def _ask(endpoint: str, word: str) -> None:
    requests.put(f"{endpoint}/{word}", data=word.encode(), headers={"X-Vault-Token": word}, timeout=10)


def test_requests_for_us_are_printed_nowhere_and_those_of_others_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    inside, outside = threading.Event(), threading.Event()
    with answering(Ok) as endpoint:

        def other() -> None:
            assert inside.wait(10)
            _ask(endpoint, "of-another-thread")
            outside.set()

        thread = threading.Thread(target=other)
        thread.start()
        with quiet():
            with quiet():
                _ask(endpoint, SECRET)
            inside.set()
            assert outside.wait(10)
        thread.join()
        _ask(endpoint, "afterwards")
        said = capsys.readouterr().out
        assert not held(said, [SECRET])
        assert "of-another-thread" in said
        assert "afterwards" in said
        # a tool may catch the lines by a function of its own there
        lines: list[tuple[object, ...]] = []
        monkeypatch.setitem(vars(http.client), "print", lambda *words: lines.append(words))
        with quiet():
            _ask(endpoint, SECRET)
        _ask(endpoint, "afterwards")
    assert not held(f"{lines}{capsys.readouterr().out}", [SECRET])
    assert "afterwards" in str(lines)


def test_an_error_from_deep_inside_leaves_printing_as_it_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    with answering(Ok) as endpoint:
        with pytest.raises(InvalidArgument), quiet():
            raise InvalidArgument("x")
        _ask(endpoint, "afterwards")
    assert "afterwards" in capsys.readouterr().out
