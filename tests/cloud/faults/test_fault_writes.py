"""Faults while a corpus is written: it is committed once, or there is one error and nothing was committed."""

from __future__ import annotations

import time
from email.utils import formatdate
from pathlib import Path

import pytest

from securedata.corpus.opening import open_corpus
from securedata.errors import OutcomeUnknown, StorageError, StorageUnreachable
from securedata.storage.s3 import store
from securedata.storage.s3.store import PART
from securedata.testing import faults
from securedata.testing.proxy import Exchange, Fault
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.cloud.fault_cases import COMMITTING, INGESTING, UPLOADING
from tests.kit.cloud.fault_plans import Between, Case
from tests.kit.cloud.faulty import cases, check_met, check_text, ends, shortened, through
from tests.kit.corpora.cloud import Cloud
from tests.kit.corpora.recorded import Root, add_clips
from tests.kit.sources.recordings import Clip, clip, encode, many_clips, noise

pytestmark = pytest.mark.xdist_group("servers")


@pytest.fixture
def root(case: Case, between: Between, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Root:
    """A corpus of one recording, reached through the proxies."""
    shortened(monkeypatch, case)
    return through(cloud, between).make("written", [clip("ann/old.wav", 0.1)], endpoint=between.s3.endpoint)


def _check_commit(case: Case, between: Between, root: Root, new: Clip) -> None:
    with open_corpus(root.reference) as corpus:
        generation = corpus.generation
    planned = case.plan(between)
    ends(case, lambda: add_clips(root, [new]))
    check_met(case, planned)
    for proxy in (between.s3, between.kms):
        proxy.clear()
    with open_corpus(root.reference) as corpus:
        committed = case.error is None or case.error is OutcomeUnknown
        assert corpus.generation == generation + committed  # once, and not twice
        assert sorted(corpus.table.column("path").to_pylist()) == ["ann/new.wav", "ann/old.wav"][not committed :]
        if committed:
            assert bytes(corpus.read("ann/new.wav")) == new.data


@pytest.mark.parametrize("case", cases(COMMITTING))
def test_committing(case: Case, between: Between, root: Root) -> None:
    _check_commit(case, between, root, clip("ann/new.wav", 0.1, seed=5))


@pytest.mark.parametrize("case", cases(UPLOADING))
def test_uploading(case: Case, between: Between, root: Root) -> None:
    large = Clip("ann/new.wav", encode(noise(PART / 2 / 16_000 + 30), 16_000))
    assert PART < len(large.data) < 2 * PART
    _check_commit(case, between, root, large)


@pytest.mark.parametrize("case", cases(INGESTING))
def test_ingesting(case: Case, between: Between, root: Root, run: Run, tmp_path: Path) -> None:
    clips = many_clips(24)
    for one in clips:
        path = tmp_path / one.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(one.data)
    planned = case.plan(between)
    began = time.monotonic()
    ran = run("encrypt", tmp_path, root.name, *PATTERN)
    assert case.least <= time.monotonic() - began < case.within
    check_met(case, planned)
    if case.error is None:
        assert ran.code == 0, ran.err
    else:
        assert ran.code == 1
        check_text(ran.error, case.says)
    between.s3.clear()
    assert run("encrypt", tmp_path, root.name, *PATTERN).code == 0  # again: what is missing
    with open_corpus(root.reference) as corpus:
        paths = corpus.table.column("path").to_pylist()
        assert sorted(paths) == sorted(["ann/old.wav", *(one.path for one in clips)])
        for one in clips:
            assert bytes(corpus.read(one.path)) == one.data
    assert run("verify", root.name).code == 0


@pytest.mark.parametrize(
    "fault",
    [
        faults.replayed,
        faults.lost_answer,
        faults.answered(409, "Conflict"),
        faults.answered(307, "TemporaryRedirect"),
        faults.status(503, "SlowDown"),
    ],
)
def test_making_a_corpus(
    fault: Fault, between: Between, cloud: Cloud, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first head that landed is ours, whatever was answered, and so is its config entry."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", between.s3.endpoint)
    rule = between.s3.plan(fault, method="PUT", path="/head")
    made = run("init", f"s3://voice/{cloud.prefix}/made", "--name", "made")
    assert (made.code, rule.hits) == (0, 1), made.err
    (tmp_path / "new.wav").write_bytes(clip("new.wav", 0.1).data)
    assert run("encrypt", tmp_path, "made", "--one-subject", "ann").code == 0
    assert run("verify", "made").code == 0


@pytest.mark.parametrize("fault", [faults.replayed, faults.lost_answer, faults.answered(404, "NoSuchKey")])
@pytest.mark.parametrize("put", [0, 1, 2, "DELETE"])
def test_a_probe_that_is_sent_twice(
    put: int | str, fault: Fault, between: Between, cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", between.s3.endpoint)
    monkeypatch.setattr(store, "_PROBED", set())
    skip, method = (put, "PUT") if isinstance(put, int) else (0, put)
    rule = between.s3.plan(fault, method=method, path=".tmp-probe-", skip=skip)
    made = run("init", f"s3://voice/{cloud.prefix}/made", "--name", "made")
    assert (made.code, rule.hits) == (0, 1), made.err
    assert run("verify", "made", "--json").json["in_flight"] == 0, "its key is deleted"


@pytest.fixture
def made(between: Between, cloud: Cloud) -> Root:
    """A corpus of one recording, reached through the proxies."""
    return through(cloud, between).make("written", [clip("ann/old.wav", 0.1)], endpoint=between.s3.endpoint)


def test_a_commit_that_was_answered_with_a_redirect(between: Between, made: Root) -> None:
    rule = between.s3.plan(faults.answered(307, "TemporaryRedirect"), method="PUT", path="/head")
    add_clips(made, [clip("ann/new.wav", 0.1, seed=5)])
    assert rule.hits == 1
    between.s3.clear()
    with open_corpus(made.reference) as corpus:
        assert sorted(corpus.table.column("path").to_pylist()) == ["ann/new.wav", "ann/old.wav"]


_PAGE = b"<html><body>we will be back soon</body></html>"
_NAMED = b'<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Code>InternalError</Code></Error>'


def _yes(body: bytes, status: int = 200) -> Fault:
    return faults.status(status, body=body, Date=formatdate(usegmt=True))


_YES = {
    "error": _yes(b"<Error><Code>InternalError</Code></Error>"),
    "error in a namespace": _yes(_NAMED),
    "page": _yes(_PAGE),
    "nothing": _yes(b""),
    "204": _yes(b"", 204),
}
_DAILY = {("/objects/", "page"), ("/objects/", "error in a namespace"), ("/manifest/", "page"), ("/head", "page")}


@pytest.mark.parametrize(
    ("path", "answer", "landed"),
    [
        pytest.param(path, _YES[name], landed, marks=() if (path, name) in _DAILY else pytest.mark.full)
        for path in ("/objects/", "/manifest/", "/head")
        for name in _YES
        for landed in (False, True)
    ],
)
def test_a_yes_that_no_storage_gave_is_none(
    path: str, answer: Fault, landed: bool, between: Between, made: Root
) -> None:
    """As a server gives that had begun to answer before it failed, and a gateway whose server is away."""
    new = clip("ann/new.wav", 0.1, seed=5)
    met: list[bool] = []

    def fault(exchange: Exchange) -> None:
        if landed:
            exchange.forward()
        met.append(True)
        answer(exchange)

    between.s3.plan(fault, method="PUT", path=path)
    try:
        add_clips(made, [new])
    except StorageUnreachable:  # libcurl takes nothing but 200 for a yes
        assert path != "/head"
        add_clips(made, [new])
    assert met == [True]
    between.s3.clear()
    with open_corpus(made.reference) as corpus:
        assert bytes(corpus.read("ann/new.wav")) == new.data


@pytest.mark.parametrize("landed", [False, True])
@pytest.mark.parametrize(
    ("method", "skip"),
    [
        pytest.param("POST", 0, marks=pytest.mark.full, id="begin"),
        pytest.param("PUT", 0, marks=pytest.mark.full, id="part"),
        pytest.param("POST", 1, id="complete"),
    ],
)
def test_a_yes_to_an_upload_in_parts_that_no_storage_gave_is_none(
    method: str, skip: int, landed: bool, between: Between, made: Root
) -> None:
    new = Clip("ann/new.wav", encode(noise(PART / 2 / 16_000 + 30), 16_000))
    page = _yes(_PAGE)

    def fault(exchange: Exchange) -> None:
        if landed:
            exchange.forward()
        page(exchange)

    rule = between.s3.plan(fault, method=method, path="/objects/", skip=skip)
    if landed and (method, skip) == ("POST", 1):
        add_clips(made, [new])
    else:
        with pytest.raises(StorageError):
            add_clips(made, [new])
        add_clips(made, [new])
    assert rule.hits == 1
    between.s3.clear()
    with open_corpus(made.reference) as corpus:
        assert bytes(corpus.read("ann/new.wav")) == new.data


def test_a_first_head_that_no_storage_took_is_put_again(
    between: Between, cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", between.s3.endpoint)
    rule = between.s3.plan(_yes(_PAGE), method="PUT", path="/head")
    made = run("init", f"s3://voice/{cloud.prefix}/made", "--name", "made")
    assert (made.code, rule.hits) == (0, 1), made.err
    assert run("verify", "made").code == 0


@pytest.mark.parametrize(
    ("large", "method", "skip"), [(False, "PUT", 0), pytest.param(True, "POST", 1, marks=pytest.mark.full)]
)
def test_a_retry_that_is_refused_where_nothing_is_there_names_nothing(
    large: bool, method: str, skip: int, between: Between, made: Root
) -> None:
    """The first try was not carried out, and the second is taken for one that comes too late."""
    new = (
        Clip("ann/new.wav", encode(noise(PART / 2 / 16_000 + 30), 16_000))
        if large
        else clip("ann/new.wav", 0.1, seed=5)
    )
    date = formatdate(usegmt=True)
    for fault in (faults.status(503, "SlowDown"), faults.status(412, "PreconditionFailed", Date=date)):
        between.s3.plan(fault, method=method, path="/objects/", skip=skip)
    with pytest.raises(StorageError):
        add_clips(made, [new])
    between.s3.clear()
    with open_corpus(made.reference) as corpus:
        assert [bytes(corpus.read(i)) for i in range(len(corpus))] == [clip("ann/old.wav", 0.1).data]
    add_clips(made, [new])
    with open_corpus(made.reference) as corpus:
        assert bytes(corpus.read("ann/new.wav")) == new.data
