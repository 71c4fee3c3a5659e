"""Whose a transaction is: the thread's or task's that began it, and nobody else's writes are lost with it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

import securedata
from securedata.corpus.config import Reference
from securedata.errors import InvalidArgument
from securedata.filesystem import SecuredataFileSystem
from securedata.filesystem.writing.batch import SMALL
from tests.kit.corpora.contents import current, look


def elsewhere(act: Callable[[], object]) -> None:
    """Do something in another thread."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(act).result()


def test_what_another_thread_writes_is_committed_on_its_own(fs: SecuredataFileSystem, reference: Reference) -> None:
    def others() -> None:
        fs.pipe_file("other", b"1")
        with fs.open("large", "wb") as file:
            file.write(bytes(SMALL + 1))
        with fs.transaction:  # one of its own
            fs.pipe({"x": b"1", "y": b"2"})
        fs.rm("x")

    def fail() -> None:
        with fs.transaction:
            fs.pipe_file("mine", b"1")
            elsewhere(others)
            assert set(current(reference)) == {"other", "large", "y"}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert fs.find("") == ["large", "other", "y"]
    with fs.transaction:
        fs.pipe_file("mine", b"1")
        elsewhere(lambda: fs.pipe_file("z", b"1"))
        at = look(reference).head.generation
        fs.pipe_file("mine too", b"1")
    assert look(reference).head.generation == at + 1
    assert {"mine", "mine too", "z"} < set(fs.find(""))
    assert securedata.verify(reference).in_flight == 0


def test_calls_in_its_context_are_part_of_it(fs: SecuredataFileSystem, reference: Reference) -> None:
    async def work() -> None:
        wrapped = AsyncFileSystemWrapper(fs, asynchronous=True)
        with fs.transaction:
            await asyncio.gather(*(wrapped._pipe_file(f"a/{number}", b"1") for number in range(4)))
            await asyncio.to_thread(fs.pipe_file, "b", b"1")

    before = look(reference).head.generation
    asyncio.run(work())
    with fs.transaction, ThreadPoolExecutor(2) as pool:
        for number in range(4):
            pool.submit(contextvars.copy_context().run, fs.pipe_file, f"c/{number}", b"1").result()
    assert look(reference).head.generation == before + 2
    assert len(fs.find("")) == 9


def test_what_comes_after_its_end_is_refused(fs: SecuredataFileSystem) -> None:
    with fs.transaction:
        context = contextvars.copy_context()
        batches = fs.transaction.batches
        batch = batches.of("voice-a")
        fs.pipe_file("a", b"1")
    for late in (
        lambda: batches.of("voice-a"),
        lambda: batch.write("b", {"subjects": ["ann"]}, b"1"),
        lambda: batch.remove("a"),
        lambda: batch.move("a", "b"),
    ):
        with pytest.raises(InvalidArgument, match="has ended"):
            late()
    assert fs.find("") == ["a"]
    assert context.run(fs.find, "") == ["a"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_call_that_comes_late_in_its_context_is_refused(fs: SecuredataFileSystem, fails: bool) -> None:
    def run() -> None:
        with fs.transaction:
            fs.pipe_file("a", b"1")
            contexts.append(contextvars.copy_context())
            if fails:
                raise ZeroDivisionError

    def begin_another() -> None:
        with fs.transaction:
            fs.pipe_file("b", b"2")

    contexts: list[contextvars.Context] = []
    with pytest.raises(ZeroDivisionError) if fails else contextlib.nullcontext():
        run()
    own = [] if fails else ["a"]
    context = contexts.pop()

    def refused() -> None:
        for late in (
            lambda: fs.pipe_file("late", b"1"),
            lambda: fs.open("late", "wb"),
            lambda: fs.open("late", "wb", autocommit=False),
            lambda: fs.rm("a"),
        ):
            with pytest.raises(InvalidArgument, match="has ended"):
                context.run(late)
        with pytest.raises(InvalidArgument, match="has ended"):
            elsewhere(lambda: context.run(fs.pipe_file, "late", b"1"))
        with pytest.raises(InvalidArgument, match="has ended"):
            context.run(fs.end_transaction)

    refused()
    assert fs.find("") == own
    context.run(begin_another)  # what outlives it has transactions of its own
    refused()
    assert fs.find("") == [*own, "b"]
    fs.pipe_file("c", b"3")  # and here it is over
    assert fs.find("") == [*own, "b", "c"]


def test_one_at_a_time(fs: SecuredataFileSystem) -> None:
    def nest() -> None:
        with fs.transaction:
            fs.pipe_file("x", b"1")
            with fs.transaction:
                pass

    def begin_twice() -> None:
        with fs.transaction:
            fs.pipe_file("x", b"1")
            fs.start_transaction()

    def use_again() -> None:
        with used:
            pass

    for wrong in (nest, begin_twice):
        with pytest.raises(InvalidArgument, match="open here already"):
            wrong()
    with fs.transaction as used:
        pass
    with pytest.raises(InvalidArgument, match="has ended"):
        use_again()
    with pytest.raises(InvalidArgument, match="no transaction"):
        fs.end_transaction()
    fs.start_transaction()
    fs.pipe_file("y", b"1")
    with pytest.raises(InvalidArgument, match="no transaction"):
        elsewhere(fs.end_transaction)
    fs.end_transaction()
    assert fs.find("") == ["y"]
    with pytest.raises(InvalidArgument, match="autocommit"):
        fs.open("z", "wb", autocommit=False)


@pytest.mark.parametrize("ends", ["with an error", "as if all were well"])
def test_a_fork_does_not_end_it(fs: SecuredataFileSystem, reference: Reference, ends: str) -> None:
    with fs.transaction as transaction:
        with fs.open("large", "wb") as file:
            file.write(bytes(SMALL + 1))
        child = os.fork()
        if not child:
            code = 1
            try:
                fs.pipe_file("child", b"1")
                if ends == "with an error":
                    transaction.complete(commit=False)
                    code = 0
                else:
                    transaction.complete()
            except InvalidArgument:
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    fs.invalidate_cache()
    assert fs.find("") == ["child", "large"]
    assert fs.cat_file("large") == bytes(SMALL + 1)
    assert securedata.verify(reference).ok


def test_what_a_generator_drops_of_its_caller_is_logged(
    fs: SecuredataFileSystem, caplog: pytest.LogCaptureFixture
) -> None:
    def numbers() -> Iterator[int]:
        with fs.transaction:
            fs.pipe_file("own", b"1")
            yield 1

    numbering = numbers()
    next(numbering)
    fs.pipe_file("audit", b"1")
    del numbering
    gc.collect()
    assert fs.find("") == []
    assert "a transaction was dropped, with 2 changes in it" in caplog.text
    assert "audit" not in caplog.text
    caplog.clear()
    with pytest.raises(ZeroDivisionError), fs.transaction:
        raise ZeroDivisionError
    assert caplog.text == ""
