"""The loop of a worker that has async handlers (EXT-43): Trio inside, the same protocol outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ext.driver import Driver, python_worker
from web4.worker.frames import (
    Cancel,
    Drain,
    Emit,
    Error,
    Intent,
    IntentAnswer,
    Ping,
    Pong,
    Progress,
    Result,
    UiAnswer,
    UiRequest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXTENSION = '''
import sys, trio
from typing import Any
from web4.ext import Cancelled, Context, Extension, Failure

ext = Extension("acme.test")

@ext.tool
async def echo(ctx: Context, text: str) -> str:
    """Say it again."""
    await ctx.progress("here")
    ctx.progress("and here")
    return text

@ext.tool
async def forever(ctx: Context, how: str = "obey") -> str:
    """Wait for ever."""
    ctx.side_effects = False
    try:
        await ctx.progress("on")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
    finally:
        print("cleaned")
        if how == "answer":
            return "a value all the same"
        if how == "fail":
            raise ValueError("while it stopped")
        if how == "late":
            with trio.CancelScope(shield=True):
                await ctx.progress("cleaning")
                await trio.sleep(0.01)

@ext.tool
async def spin(ctx: Context) -> None:
    """Progress is a checkpoint."""
    while True:
        await ctx.progress()

@ext.tool
async def question(ctx: Context) -> list:
    """Ask at the same time."""
    found = []
    async def one(title):
        reply = await ctx.confirm(title)
        found.append([title, reply.outcome, bool(reply)])
    async with trio.open_nursery() as nursery:
        for title in "abc":
            nursery.start_soon(one, title)
    return sorted(found)

@ext.tool
async def blocks(ctx: Context) -> None:
    """Wait where one must not."""
    ctx.confirm("?").wait()

@ext.tool
async def fail(how: str) -> None:
    """Fail."""
    async def bad():
        raise ValueError(how)
    if how == "exit":
        sys.exit(1)
    if how == "own":
        raise Failure("mine", "my own")
    if how == "self":
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep_forever()
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bad)
        if how == "two":
            nursery.start_soon(bad)

@ext.tool
def plain(ctx: Context) -> None:
    """A plain handler beside async ones."""
    ctx.progress("on")
    while not ctx.cancelled:
        pass
    raise Cancelled

@ext.tool
def plain_question(ctx: Context) -> Any:
    """A plain question beside async ones."""
    return ctx.input("?").wait().value

@ext.workload
async def work(ctx: Context, request: dict) -> Any:
    """Emit and intend."""
    for n in range(request["count"]):
        await ctx.emit("token_delta", {"n": n})
    decisions = [await ctx.intent({"n": 1}), await ctx.intent({"n": 2})]
    return [[one.ok, one.error, bool(one)] for one in decisions]
'''


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("async")
    (directory / "extension.py").write_text(EXTENSION)
    return directory


@pytest.fixture(scope="module")
def shared(directory: Path) -> Iterator[Driver]:
    with python_worker(directory) as worker:
        worker.ready()
        yield worker


def test_ext_43_an_async_handler_answers(shared: Driver) -> None:
    shared.start("tool", "echo", {"text": "hi"})
    assert [shared.expect(Progress).message, shared.expect(Progress).message] == ["here", "and here"]
    assert shared.expect(Result).value == "hi"


@pytest.mark.parametrize("tool", ["forever", "spin"])
def test_ext_19_an_async_handler_is_cancelled_where_it_awaits(shared: Driver, tool: str) -> None:
    call_id = shared.start("tool", tool, {})
    shared.expect(Progress)
    shared.send(Ping(nonce=5))
    shared.send(Cancel(id=call_id, reason="enough"))
    while not isinstance(frame := shared.receive(), Error):
        assert isinstance(frame, Progress | Pong)
    assert (frame.id, frame.code) == (call_id, "cancelled")
    assert frame.side_effects is (False if tool == "forever" else None)


def test_ext_19_a_cancel_right_behind_its_call_is_not_lost(shared: Driver) -> None:
    for _ in range(50):
        call_id = shared.start("tool", "forever", {})
        shared.send(Cancel(id=call_id, reason="at once"))
        while isinstance(frame := shared.receive(), Progress):
            pass
        assert isinstance(frame, Error)
        assert (frame.id, frame.code) == (call_id, "cancelled")


def test_ext_19_what_a_cancelled_handler_answers_all_the_same_is_its_answer(shared: Driver) -> None:
    for how, kind in (("answer", Result), ("fail", Error), ("late", Error)):
        call_id = shared.start("tool", "forever", {"how": how})
        shared.expect(Progress)
        shared.send(Cancel(id=call_id, reason="enough"))
        while isinstance(frame := shared.receive(), Progress):
            assert frame.message == "cleaning"
        assert isinstance(frame, kind)
        if isinstance(frame, Error):
            assert frame.code == ("exception" if how == "fail" else "cancelled")


def test_ext_18_async_questions_at_the_same_time(shared: Driver) -> None:
    call_id = shared.start("tool", "question", {})
    asked = [shared.expect(UiRequest) for _ in range(3)]
    for one in reversed(asked):
        shared.send(UiAnswer(request_id=one.request_id, outcome="answered", value=one.fields["title"] != "b"))
    result = shared.expect(Result)
    assert result.id == call_id
    assert result.value == [["a", "answered", True], ["b", "answered", False], ["c", "answered", True]]
    # Cancelled while it waits: the answer that comes later finds nobody, and does no harm.
    call_id = shared.start("tool", "question", {})
    asked = [shared.expect(UiRequest) for _ in range(3)]
    shared.send(Cancel(id=call_id, reason="enough"))
    assert shared.expect(Error).code == "cancelled"
    shared.send(UiAnswer(request_id=asked[0].request_id, outcome="answered", value=True))
    shared.start("tool", "blocks", {})
    shared.expect(UiRequest)
    error = shared.expect(Error)
    assert error.message == "RuntimeError: await it: an async handler must not block"


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("one", "exception", "ValueError: one"),
        ("two", "exception", "ExceptionGroup: "),
        ("exit", "exit", "SystemExit: 1"),
        ("own", "mine", "my own"),
    ],
)
def test_ext_43_async_failures_are_errors(shared: Driver, how: str, code: str, message: str) -> None:
    error = shared.fail("tool", "fail", {"how": how})
    assert error.code == code
    assert error.message.startswith(message)
    assert shared.call("tool", "fail", {"how": "self"}) is None


def test_ext_43_plain_handlers_beside_async_ones(shared: Driver) -> None:
    waiting = shared.start("tool", "forever", {})
    shared.expect(Progress)
    call_id = shared.start("tool", "plain", {})
    shared.expect(Progress)
    shared.send(Ping(nonce=9))
    assert shared.expect(Pong).nonce == 9
    behind = shared.start("tool", "echo", {"text": "behind"})  # read by the poll, served after it
    shared.send(Cancel(id=waiting, reason="another's"))
    shared.send(Cancel(id=call_id, reason="enough"))
    ended: dict[str, Result | Error] = {}
    while len(ended) < 3:
        frame = shared.receive()
        if isinstance(frame, Result | Error):
            ended[frame.id] = frame
    assert isinstance(ended[behind], Result)
    assert {type(ended[waiting]), type(ended[call_id])} == {Error}
    shared.start("tool", "plain_question", {})
    asked = shared.expect(UiRequest)
    shared.send(UiAnswer(request_id=asked.request_id, outcome="answered", value="text"))
    assert shared.expect(Result).value == "text"


def test_ext_9_a_workload_emits_and_intends(shared: Driver) -> None:
    call_id = shared.start("workload", "work", {"count": 3})
    events = [shared.expect(Emit) for _ in range(3)]
    assert [(one.id, one.event_type, one.payload) for one in events] == [
        (call_id, "token_delta", {"n": n}) for n in range(3)
    ]
    for ok, error in ((True, None), (False, "conflict")):
        intent = shared.expect(Intent)
        shared.send(IntentAnswer(id=call_id, intent_id=intent.intent_id, ok=ok, error=error))
    assert shared.expect(Result).value == [[True, None, True], [False, "conflict", False]]


def test_ext_15_drain_waits_for_open_calls_which_may_still_be_answered(directory: Path) -> None:
    with python_worker(directory) as worker:
        worker.ready()
        worker.start("tool", "question", {})
        asked = [worker.expect(UiRequest) for _ in range(3)]
        worker.send(Drain())
        worker.start("tool", "echo", {"text": "no more"})
        for one in asked:
            worker.send(UiAnswer(request_id=one.request_id, outcome="cancelled"))
        assert [one[1] for one in worker.expect(Result).value] == ["cancelled"] * 3
        with pytest.raises(EOFError):
            worker.receive()
        assert worker.ended()[0] == 0
    with python_worker(directory) as worker:
        worker.ready()
        worker.send(Drain())
        assert worker.ended()[0] == 0


def test_ext_14_the_end_of_the_socket_ends_the_worker(directory: Path) -> None:
    with python_worker(directory) as worker:
        worker.ready()
        worker.start("tool", "forever", {})
        worker.expect(Progress)
        worker.socket.close()
        status, out, err = worker.ended()
        assert (status, out, err) == (0, "cleaned\n", "")
    with python_worker(directory) as worker:
        worker.ready()
        worker.start("tool", "spin", {})
        worker.expect(Progress)
        worker.raw(b"\0\0\0\x01\x01")
        assert worker.ended()[0] == 2
