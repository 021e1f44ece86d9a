"""The node's side of the control socket (NDJ-6, NDJ-8, NDJ-11 to NDJ-17, NDJ-25)."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from web4.doors.control.commands import Caller, CommandSet, Nothing
from web4.doors.control.errors import CommandRefused
from web4.doors.control.lines import EndlessLine, Lines, LineTooLong
from web4.doors.control.socket_place import listening, peer_credentials
from web4.doors.control.wire import (
    LINE_BYTES,
    VERSION,
    BadLine,
    Command,
    read_command,
    write_failure,
    write_response,
)
from web4.foundation.clock import SystemClock, format_timestamp
from web4.foundation.errors import Web4Error

if TYPE_CHECKING:
    import socket as sockets
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter

    IsWorker = Callable[[int], bool]

PONG: Final = "pong"
PAUSE_SECONDS: Final = 0.5
"""After so long is accepted again, when it could not be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlLimits:
    """Bounds of the door (NDJ-8).

    Args:
        connections: At once; past it the newcomer is closed.
        line_bytes: Of a command line.
        command_seconds: After which a command that is not answered is answered `timeout`.
        stalled_seconds: After which a reader that takes no byte is disconnected (NDJ-10).
        allowed_uids: Users besides the node's own.
    """

    connections: int = 64
    line_bytes: int = LINE_BYTES
    command_seconds: float = 30.0
    stalled_seconds: float = 60.0
    allowed_uids: frozenset[int] = frozenset()


class _Door:
    def __init__(
        self,
        commands: CommandSet,
        *,
        emit: Emitter,
        limits: ControlLimits,
        clock: Clock,
        is_worker: IsWorker,
        about: Mapping[str, Any],
    ) -> None:
        self._commands = commands
        self._emit = emit
        self._limits = limits
        self._clock = clock
        self._is_worker = is_worker
        self._about = about
        self._connections = 0
        commands.add("ping", Nothing, self._ping, answers=PONG)
        commands.add("hello", Nothing, self._hello)

    async def serve(self, server: sockets.socket) -> None:
        """Accept for ever."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(server))
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:  # no descriptor is left: those that serve must not end for it
                    self._emit(
                        "error",
                        severity="warning",
                        where="control",
                        error="accept",
                        code=type(error).__name__,
                    )
                    await trio.sleep(PAUSE_SECONDS)
                    continue
                caller = self._admitted(stream)
                if caller is None:
                    await trio.aclose_forcefully(stream)
                else:
                    self._connections += 1
                    nursery.start_soon(self._converse, stream, caller)

    def _admitted(self, stream: trio.SocketStream) -> Caller | None:
        """Who it is, if that one may speak; everybody else is closed without a byte (NDJ-6)."""
        raw: Any = stream.socket
        who = peer_credentials(raw)
        own = os.geteuid()
        reason = None
        if who.uid != own and who.uid not in self._limits.allowed_uids:
            reason = "foreign_uid"
        elif self._is_worker(who.pid):
            reason = "worker"
        elif self._connections >= self._limits.connections:
            reason = "too_many_connections"
        if reason is not None:
            self._emit("error", severity="warning", where="control", error="refused", code=reason)
            return None
        return Caller(who.uid, who.uid == own)

    async def _converse(self, stream: trio.SocketStream, caller: Caller) -> None:
        try:
            async with stream:
                lines = Lines(stream, limit=self._limits.line_bytes)
                while True:
                    try:
                        line = await lines.next()
                        if line is None:
                            return
                        if not line.strip():
                            continue
                        answer = await self._answer(read_command(line), caller)
                    except LineTooLong as error:
                        answer = write_failure("", "invalid_command", str(error), None, ts=self._now())
                    except BadLine as error:
                        answer = write_failure(
                            error.command_id, error.code, error.message, None, ts=self._now()
                        )
                    with trio.move_on_after(self._limits.stalled_seconds) as patience:
                        await stream.send_all(answer)
                    if patience.cancelled_caught:
                        return
        except (EndlessLine, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it is gone, or must go; what it asked for is done or not, as the journal says
        finally:
            self._connections -= 1

    async def _answer(self, command: Command, caller: Caller) -> bytes:
        if command.type not in self._commands:
            return write_failure(
                command.id, "invalid_command", f"invalid_command: {command.type[:64]}", None, ts=self._now()
            )
        try:
            with trio.fail_after(self._limits.command_seconds):
                kind, payload = await self._commands.run(command.type, command.payload, caller)
            return write_response(command.id, kind, payload, ts=self._now())
        except trio.TooSlowError:
            return write_failure(
                command.id, "timeout", "the answer was not ready; it may be done all the same",
                "command_continues", ts=self._now(),
            )  # fmt: skip
        except CommandRefused as error:
            return write_failure(command.id, error.code, _text(error), None, ts=self._now())
        except Web4Error as error:
            cause = f"{type(error).__name__}: {error.code}"
            return write_failure(command.id, "command_rejected", _text(error), cause, ts=self._now())
        except Exception as error:
            # A mistake in the program must not end the node for all others; the event names it.
            self._emit(
                "error", severity="error", where="control", error=type(error).__name__, type=command.type
            )
            return write_failure(
                command.id, "internal_error", "the command failed unexpectedly", type(error).__name__,
                ts=self._now(),
            )  # fmt: skip

    def _now(self) -> str:
        return format_timestamp(self._clock.wall_ms())

    async def _ping(self, _: Nothing, __: Caller) -> Mapping[str, Any]:
        await trio.lowlevel.checkpoint()
        return {"message": PONG}

    async def _hello(self, _: Nothing, __: Caller) -> Mapping[str, Any]:
        await trio.lowlevel.checkpoint()
        limits = {
            name: value
            for name, value in msgspec.to_builtins(self._limits).items()
            if name not in {"allowed_uids"}
        }
        return {
            "server": "web4",
            "protocol": VERSION,
            "commands": list(self._commands),
            "events": [],
            "features": [],
            "limits": limits,
            **self._about,
        }


def _text(error: Web4Error) -> str:
    return str(error).partition(": ")[2] or str(error)


@asynccontextmanager
async def open_control_door(
    path: Path,
    commands: CommandSet,
    *,
    emit: Emitter,
    limits: ControlLimits | None = None,
    clock: Clock | None = None,
    is_worker: IsWorker = lambda _: False,
    about: Mapping[str, Any] | None = None,
) -> AsyncIterator[None]:
    """Serve a node's commands at `path` until left: then the socket is removed, and connections are closed.

    Args:
        path: Of the socket; beside it lies its lock.
        commands: What can be asked; `ping` and `hello` are added.
        emit: Where refusals and failures of handlers go.
        limits: See `ControlLimits`.
        clock: Where time comes from.
        is_worker: Whether a process is a worker of the node or a descendant of one: those are closed, too.
        about: What `hello` says besides: version, fingerprint.

    Raises:
        ControlError: `socket_in_use`, `socket_path`, `socket_permissions`.
        OSError: The socket cannot be made.
    """
    limits = limits or ControlLimits()
    door = _Door(
        commands,
        emit=emit,
        limits=limits,
        clock=clock or SystemClock(),
        is_worker=is_worker,
        about=about or {},
    )
    failure: BaseException | None = None
    with listening(path, backlog=limits.connections) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.serve, server)
            try:
                yield
            except BaseException as error:  # raised again below, not in the nursery's group
                failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
