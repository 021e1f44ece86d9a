"""A program under test, and the node's end of its socket."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from web4.worker.frames import FrameError, FrameReader, ToNode, decode_to_node, length_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

Message = dict[str, Any]
_STDERR: Final = 4096


class NonconformingError(Exception):
    """The program did something else than it should. `str()` says what."""


class Program:
    """One run of the program. Frames go out as plain maps, so that a check can say what no node would.

    Args:
        argv: The program.
        patience: Seconds to wait for anything it has to do.

    Raises:
        NonconformingError: It cannot be started.
    """

    def __init__(self, argv: Sequence[str], patience: float) -> None:
        self.patience = patience
        self._reader = FrameReader()
        self._number = 0
        self._ended = False
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs:
            try:
                self.process = subprocess.Popen(  # noqa: S603 - what to start is what we were asked to test
                    list(argv),
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, "WEB4_WORKER_FD": str(theirs.fileno())},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                )
            except OSError as error:
                ours.close()
                raise NonconformingError(f"it cannot be started: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.hang_up()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    # --- saying -----------------------------------------------------------------------------------------------

    def send(self, **message: Any) -> None:
        """Send one frame."""
        self.send_bytes(frame_of(msgspec.msgpack.encode(message)))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.settimeout(self.patience)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise NonconformingError(f"it does not read what is sent: {error}{self._last_words()}") from None

    def hang_up(self) -> None:
        """Close the socket, as a node that dies does."""
        self._socket.close()

    def call(self, kind: str, name: str, arguments: Any, **more: Any) -> str:
        """Begin a call; its id. What more is said is said first."""
        self._number += 1
        call_id = f"call-{self._number}"
        message = {"t": "call", "id": call_id, "kind": kind, "name": name, "arguments": arguments}
        more |= message | {"deadline_ms": 60_000, "context": {"session": "s", "call": call_id}}
        self.send(**more)
        return call_id

    # --- hearing ----------------------------------------------------------------------------------------------

    def receive(self, *, logs: bool = False) -> ToNode:
        """The next frame, log lines left out unless they are wanted.

        Raises:
            NonconformingError: None came in time, the socket ended, or it was none.
        """
        while True:
            try:
                frame = decode_to_node(self._body())
            except FrameError as error:
                raise NonconformingError(f"what it sent is no frame of a worker: {error}") from None
            if logs or type(frame).__name__ != "Log":
                return frame

    def _body(self) -> bytes:
        until = time.monotonic() + self.patience
        while (body := self._reader.next()) is None:
            self._socket.settimeout(max(0.001, until - time.monotonic()))
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                held = f", though {len(self._reader)} bytes of it" if len(self._reader) else ""
                raise NonconformingError(f"no frame came in {self.patience:g} s{held}") from None
            except ConnectionResetError:
                data = b""
            if not data:
                self._ended = True
                raise NonconformingError(f"its socket ended where a frame was due{self._last_words()}")
            self._reader.feed(data)
        return body

    def result(self, call_id: str) -> Any:
        """The value of a call."""
        frame = self.expect("result", id=call_id)
        return frame["value"]

    def expect(self, kind: str, **fields: Any) -> Message:
        """The next frame, which is of this type and has these fields."""
        frame: Message = msgspec.to_builtins(self.receive(), builtin_types=(bytes,))
        if frame["t"] != kind:
            raise NonconformingError(f"{kind} was due, what came is {shown(frame)}")
        for key, value in fields.items():
            if frame.get(key) != value:
                raise NonconformingError(f"{key} of {kind} is {shown(frame.get(key))}, not {shown(value)}")
        return frame

    def ends(self) -> int:
        """Wait until the process has ended; its exit status. What it sends meanwhile is not looked at."""
        with contextlib.suppress(NonconformingError):
            while not self._ended:
                self.receive()
        try:
            return self.process.wait(self.patience)
        except subprocess.TimeoutExpired:
            raise NonconformingError(f"it still runs after {self.patience:g} s") from None

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            _, error = self.process.communicate(timeout=1)
            text = error[-_STDERR:].decode(errors="backslashreplace").strip()
            return (
                f" (status {self.process.returncode}): {text}"
                if text
                else f" (status {self.process.returncode})"
            )
        return ""


def frame_of(body: bytes) -> bytes:
    """A body behind its length."""
    data = len(body).to_bytes(4, "big") + body
    assert length_of(data) == len(body)
    return data


def shown(value: Any) -> str:
    """A value, cut to a length that a line can hold."""
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"


def wide(value: Any) -> bytes:
    """The value in the longest form that msgpack has for each part: a reader takes them all."""
    if value is None or isinstance(value, bool | float):
        return msgspec.msgpack.encode(value)
    if isinstance(value, int):
        return b"\xd3" + value.to_bytes(8, "big", signed=True)
    if isinstance(value, str):
        data = value.encode()
        return b"\xdb" + len(data).to_bytes(4, "big") + data
    if isinstance(value, bytes):
        return b"\xc6" + len(value).to_bytes(4, "big") + value
    if isinstance(value, list):
        return b"\xdd" + len(value).to_bytes(4, "big") + b"".join(map(wide, value))
    assert isinstance(value, dict)
    entries = b"".join(wide(key) + wide(one) for key, one in value.items())
    return b"\xdf" + len(value).to_bytes(4, "big") + entries
