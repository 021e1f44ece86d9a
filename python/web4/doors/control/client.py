"""The other side of the control socket: what the command line is built on (NDJ-11, NDJ-14)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from web4.doors.control.errors import CommandFailed, ControlError
from web4.doors.control.lines import EndlessLine, Lines, LineTooLong
from web4.doors.control.socket_place import peer_credentials
from web4.doors.control.wire import LINE_BYTES, write_command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path


class Control:
    """A connection to a running node. One command at a time."""

    def __init__(self, stream: trio.SocketStream, *, seconds: float) -> None:
        self._stream = stream
        self._lines = Lines(stream)
        self._seconds = seconds
        self._asked = 0
        self._lock = trio.Lock()

    @property
    def process(self) -> int:
        """The process at the other end, as the kernel says; 0 if it cannot be seen from here."""
        raw: Any = self._stream.socket
        return peer_credentials(raw).pid

    async def ask(self, command: str, payload: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Give a command; the payload of its answer. Cancelled, it may be done all the same.

        Raises:
            CommandFailed: The node refused it.
            ControlError: `line_too_long`, before anything is sent; `disconnected`, `no_answer`, `bad_answer`.
        """
        async with self._lock:
            self._asked += 1
            command_id = str(self._asked)
            said = write_command(command_id, command, payload or {})
            if len(said) > LINE_BYTES:
                raise ControlError(
                    f"{len(said):,} bytes are said, and a line has {LINE_BYTES:,} at most",
                    code="line_too_long",
                )
            try:
                with trio.fail_after(self._seconds):
                    await self._stream.send_all(said)
                    line = await self._lines.next()
            except trio.TooSlowError:
                raise ControlError(
                    f"the node has not answered within {self._seconds:g} s", code="no_answer"
                ) from None
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                line = None
            except (LineTooLong, EndlessLine):
                raise ControlError("the answer is too long", code="bad_answer") from None
        if line is None:
            raise ControlError("the node closed the connection", code="disconnected")
        return _read(line, command_id)


def _read(line: bytes, command_id: str) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(line)
        if answer["id"] != command_id:
            raise KeyError("id")
        if answer["ok"]:
            payload: dict[str, Any] = answer["payload"]
            return payload
        error = answer["error"]
        failed = CommandFailed(error["message"], error=error["code"], cause=error.get("cause"))
    except (msgspec.DecodeError, KeyError, TypeError):
        raise ControlError("what came is no answer", code="bad_answer") from None
    raise failed


@asynccontextmanager
async def open_control(path: Path, *, seconds: float = 90.0) -> AsyncIterator[Control]:
    """Connect to the node that listens at `path`.

    Args:
        path: Of its socket.
        seconds: How long one answer may take.

    Raises:
        ControlError: `not_running`; `socket_permissions` if it may not be asked.
    """
    try:
        stream = await trio.open_unix_socket(str(path))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        raise ControlError(f"no node listens at {path}", code="not_running") from None
    except PermissionError:
        raise ControlError(f"{path} is not yours to use", code="socket_permissions") from None
    async with stream:
        yield Control(stream, seconds=seconds)
