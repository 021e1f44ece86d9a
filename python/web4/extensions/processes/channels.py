"""The descriptors between the node and one worker, made in pairs and handed over in one message."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from web4.extensions.errors import WorkerStartError
from web4.worker.request import REPORT_DECODER
from web4.worker.starting import MAX_ENVIRONMENT

if TYPE_CHECKING:
    from web4.worker.request import Report

_CREDENTIALS: Final = struct.Struct("3i")
_REPORT_LIMIT: Final = 16 * 1024


class Channels:
    """Both ends of what one worker gets. The node's are non-blocking, all are closed on an execution.

    Args:
        warden: Whether a warden gets a control socket.
    """

    def __init__(self, *, warden: bool) -> None:
        self._theirs: list[int] = []
        self._ours: list[int] = []
        self._ends: list[socket.socket] = []
        try:
            self.stdout = self._pipe()
            self.stderr = self._pipe()
            self.socket = self._pair(socket.SOCK_STREAM)
            self.report = self._pair(socket.SOCK_SEQPACKET)
            self.report.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self.control = self._pair(socket.SOCK_SEQPACKET) if warden else None
        except OSError:
            for descriptor in (*self._ours, *self._theirs):
                os.close(descriptor)
            for end in self._ends:
                end.close()
            raise

    @property
    def theirs(self) -> list[int]:
        """The ends to send to the template, in its order."""
        return self._theirs

    def pass_environment(self, variables: dict[str, str]) -> None:
        """Leave variables for the worker, and for nobody else, to read as it starts.

        Raises:
            WorkerStartError: They are too large.
        """
        message = msgspec.msgpack.encode(variables)
        if len(message) > MAX_ENVIRONMENT:
            raise WorkerStartError(f"{len(message)} bytes of environment are more than {MAX_ENVIRONMENT}")
        try:
            self.report.send(message)
        except OSError as error:
            raise WorkerStartError(f"{len(message)} bytes of environment: {error}") from None

    def close_theirs(self) -> None:
        """Once they were sent: a copy here would keep the node from noticing the worker's end."""
        while self._theirs:
            os.close(self._theirs.pop())

    def close(self) -> None:
        """Close every end that is left."""
        self.close_theirs()
        self.close_report()
        self.close_control()
        self.close_protocol()

    def close_report(self) -> None:
        """Close what is of no use once the worker has started, or has not."""
        _close(self.report)

    def close_control(self) -> None:
        """Close what is of no use once the worker has ended."""
        if self.control is not None:
            _close(self.control)

    def close_protocol(self) -> None:
        """Close the socket and the pipes."""
        _close(self.socket)
        while self._ours:
            descriptor = self._ours.pop()
            trio.lowlevel.notify_closing(descriptor)
            os.close(descriptor)

    async def next_report(self) -> tuple[Report, int] | None:
        """What the worker says of its start, and its process id as the node sees it; None when it says no more.

        Raises:
            ValueError: It is no report.
        """
        while True:
            try:
                message, control, _flags, _address = self.report.recvmsg(_REPORT_LIMIT, 256)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.report)
                continue
            except ConnectionResetError:
                return None
            if not message:
                return None
            pid = 0
            for level, kind, data in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    pid = _CREDENTIALS.unpack_from(data)[0]
            return REPORT_DECODER.decode(message), pid

    def _pipe(self) -> int:
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        self._theirs.append(theirs)
        self._ours.append(ours)
        os.set_blocking(ours, False)
        return ours

    def _pair(self, kind: socket.SocketKind) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        self._theirs.append(theirs.detach())
        self._ends.append(ours)
        ours.setblocking(False)
        return ours


def _close(end: socket.socket) -> None:
    if end.fileno() >= 0:
        trio.lowlevel.notify_closing(end)
        end.close()
