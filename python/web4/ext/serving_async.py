"""The loop of a worker that has an async handler. The only module of the SDK that imports Trio.

One task reads; each call of an async handler is a task of the nursery beside it. Plain handlers run in the reading
task itself, as they would without Trio, and look for what has come when they ask whether they are cancelled.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from web4.ext.context import Context
from web4.ext.failures import Cancelled, NodeGoneError, error_frame
from web4.ext.serving import answer_plain, begin, conclude, finish, send_answer
from web4.worker.frames import Call

if TYPE_CHECKING:
    from web4.ext.connection import Answer, Connection
    from web4.ext.operations import Operation
    from web4.worker.frames import Error, Result

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
    """One worker's calls."""

    def __init__(self, connection: Connection, operations: Operations) -> None:
        self._connection = connection
        self._operations = operations
        self._reading = trio.CancelScope()

    async def serve(self) -> BaseException | None:
        """Read and answer until the connection is drained; why it ended sooner, if it did."""
        ended: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                with self._reading:
                    await self._read(nursery)
        except* NodeGoneError as group:
            ended = group
            while isinstance(ended, BaseExceptionGroup):
                ended = ended.exceptions[0]
        return ended

    async def _read(self, nursery: trio.Nursery) -> None:
        connection = self._connection
        # A drained worker reads on while calls are open: they may be cancelled, or wait for an answer.
        while not connection.draining or connection.calls or connection.open:
            frame = connection.next(socket.MSG_DONTWAIT)
            if frame is None:
                await trio.lowlevel.wait_readable(connection)
            elif type(frame) is not Call:
                connection.take(frame)
            elif self._is_async(frame):
                # Open before it runs: a cancel may be read before its task is.
                scope = trio.CancelScope()
                connection.opened(frame.id, scope)
                nursery.start_soon(self._answer, frame, scope)
            else:
                send_answer(connection, answer_plain(connection, self._operations, frame))

    def _is_async(self, call: Call) -> bool:
        operation = self._operations.get((call.kind, call.name))
        return operation is not None and operation.is_async

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
                frame = error_frame(call.id, own, context.side_effects)
            except BaseException as error:  # SystemExit and its like end the call, not the worker
                frame = error_frame(call.id, error, context.side_effects)
            finally:
                finish(connection, call)
        if frame is None:
            frame = error_frame(call.id, Cancelled(), context.side_effects)
        send_answer(connection, frame)
        if connection.draining and not connection.open and not connection.calls:
            self._reading.cancel()


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
