"""The loop of a worker that has an async handler. The only module of the SDK that imports Trio.

Plain handlers run in it as they would without Trio, and look for what has come when they ask whether they are
cancelled.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, cast

import trio

from web4.ext.context import Context
from web4.ext.failures import Cancelled, NodeGoneError, error_frame
from web4.ext.serving import answer_plain, begin, conclude, finish, said_of, send_answer
from web4.worker.frames import Call

if TYPE_CHECKING:
    from web4.ext.connection import Answer, Connection
    from web4.ext.operations import Operation
    from web4.worker.frames import Error, Result, ToWorker

Operations = dict[tuple[str, str], "Operation"]


def run(connection: Connection, operations: Operations) -> None:
    """Serve calls until the connection is drained.

    Raises:
        NodeGoneError: The socket has ended, or the node broke the protocol; handlers that ran were cancelled.
    """
    ended = trio.run(_Loop(connection, operations).serve)
    if ended is not None:
        raise ended


class _Loop:
    """One worker's calls.

    The main task reads and runs handlers itself, one after another. While no call is open nothing of the extension
    runs, so it reads as a plain worker does, blocking, and a handler that does not wait costs what a plain one costs.
    Once a handler waits, the watching task reads beside it: cancels, answers, and calls that come on top.
    """

    def __init__(self, connection: Connection, operations: Operations) -> None:
        self._connection = connection
        self._operations = operations
        self._quiet = trio.Event()

    async def serve(self) -> BaseException | None:
        """Read and answer until the connection is drained; why it ended sooner, if it did."""
        ended: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, nursery)
                await self._run(nursery)
                nursery.cancel_scope.cancel()
        except* NodeGoneError as group:
            ended = group
            while isinstance(ended, BaseExceptionGroup):
                ended = ended.exceptions[0]
        return ended

    async def _run(self, nursery: trio.Nursery) -> None:
        connection = self._connection
        while True:
            while connection.open:
                self._quiet = trio.Event()
                await self._quiet.wait()
            if connection.draining and not connection.calls:
                return
            frame = connection.next()
            if frame is not None and not self._take(frame):
                call = cast("Call", frame)
                scope = self._open(call)
                if connection.buffered:  # what came along with the call wakes nobody
                    self._read(nursery)
                await self._answer(call, scope)

    async def _watch(self, nursery: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._connection)
            self._read(nursery)

    def _read(self, nursery: trio.Nursery) -> None:
        """Take what there is; nothing, if the main task has read it meanwhile."""
        while (frame := self._connection.next(socket.MSG_DONTWAIT)) is not None:
            if not self._take(frame):
                call = cast("Call", frame)
                nursery.start_soon(self._answer, call, self._open(call))

    def _take(self, frame: ToWorker) -> bool:
        """Do what a frame says, unless it calls an async handler."""
        if type(frame) is not Call:
            self._connection.take(frame)
            return True
        operation = self._operations.get((frame.kind, frame.name))
        if operation is not None and operation.is_async:
            return False
        send_answer(self._connection, answer_plain(self._connection, self._operations, frame))
        return True

    def _open(self, call: Call) -> trio.CancelScope:
        # Open before its task runs: a cancel may be read first.
        scope = trio.CancelScope()
        self._connection.opened(call.id, scope)
        return scope

    async def _answer(self, call: Call, scope: trio.CancelScope) -> None:
        connection = self._connection
        context = Context(connection, call, is_plain=False)
        frame: Result | Error | None = None
        with scope:
            try:
                operation = begin(connection, self._operations, call)
                frame = conclude(operation, context, call, await operation.bind(context, call.arguments))
            except (trio.Cancelled, NodeGoneError):
                raise
            except BaseExceptionGroup as group:
                passing, own = group.split((trio.Cancelled, NodeGoneError))
                if own is None or (passing is not None and passing.subgroup(NodeGoneError)):
                    raise
                frame = error_frame(call.id, own, said_of(context))
            except BaseException as error:  # SystemExit and its like end the call, not the worker
                if connection.forked:
                    raise
                frame = error_frame(call.id, error, said_of(context))
        finish(connection, call)
        if frame is None:
            frame = error_frame(call.id, Cancelled(), said_of(context))
        send_answer(connection, frame)
        if not connection.open:
            self._quiet.set()


async def wait_for(connection: Connection, asked: str) -> Answer:
    """The answer to a question, as soon as it has come."""
    event = trio.Event()
    connection.wake_by(asked, event.set)
    answer = connection.answer_to(asked)
    if answer is None:
        await event.wait()
        answer = connection.answer_to(asked)
        assert answer is not None
    return answer
