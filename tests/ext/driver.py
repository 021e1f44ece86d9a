"""The node's side of one worker, blocking: a program, a socketpair, and frames."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from web4.worker.frames import (
    Call,
    CallContext,
    CallKind,
    Error,
    Frame,
    FrameReader,
    Hello,
    Ready,
    Result,
    ToNode,
    decode_to_node,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

One = TypeVar("One", bound=Frame)
LONG = 30.0
"""Seconds within which anything happens at all; a test that works never waits so long."""


class Driver:
    """A worker without pool or sandbox. What it sends comes out frame by frame."""

    def __init__(self, argv: Sequence[str], directory: Path | str, extension: str, **hello: Any) -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        self.socket.settimeout(LONG)
        self._reader = FrameReader()
        self._number = 0
        with theirs:
            self.process = subprocess.Popen(
                argv,
                cwd=directory,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "WEB4_WORKER_FD": str(theirs.fileno())},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        told: dict[str, Any] = {
            "protocol": 1,
            "extension": extension,
            "version": "1.0.0",
            "worker_id": "worker-1",
            "generation": 1,
            "config": {"colour": "red"},
            "limits": {"memory_mb": 256},
            "tmp": "/tmp/w",
        }
        self.send(Hello(**(told | hello)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def send(self, frame: Frame) -> None:
        self.socket.sendall(encode(frame))

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> ToNode:
        """The next frame; EOFError when there is none any more."""
        while (body := self._reader.next()) is None:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError
            self._reader.feed(data)
        return decode_to_node(body)

    def expect(self, kind: type[One]) -> One:
        frame = self.receive()
        assert isinstance(frame, kind), frame
        return frame

    def ready(self) -> Ready:
        return self.expect(Ready)

    def start(
        self, kind: CallKind, name: str, arguments: Any, *, deadline_ms: int = 20_000, **rest: Any
    ) -> str:
        self._number += 1
        call_id = f"call-{self._number}"
        context = CallContext(session="s-1", call=call_id)
        self.send(
            Call(
                id=call_id,
                kind=kind,
                name=name,
                arguments=arguments,
                deadline_ms=deadline_ms,
                context=context,
                **rest,
            )
        )
        return call_id

    def call(self, kind: CallKind, name: str, arguments: Any) -> Any:
        """The value of a call that says nothing but its answer."""
        call_id = self.start(kind, name, arguments)
        frame = self.expect(Result)
        assert frame.id == call_id
        return frame.value

    def fail(self, kind: CallKind, name: str, arguments: Any) -> Error:
        """The error of a call that says nothing but that."""
        call_id = self.start(kind, name, arguments)
        frame = self.expect(Error)
        assert frame.id == call_id
        return frame

    def ended(self) -> tuple[int, str, str]:
        """Wait for the process: exit status, standard output, standard error."""
        out, err = self.process.communicate(timeout=LONG)
        return self.process.returncode, out, err


def python_worker(
    directory: Path | str, module: str = "extension", *, name: str = "acme.test", **hello: Any
) -> Driver:
    """A worker of the Python SDK: `ext` of a module of a directory."""
    return Driver([sys.executable, "-m", "web4.ext", f"{module}:ext", "."], directory, name, **hello)
