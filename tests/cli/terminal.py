"""A program on a terminal: what it shows, and what is typed."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.cli.command import COMMAND, ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATIENCE = 60


class Terminal:
    """The person's side."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int) -> None:
        self.process = process
        self._ours = ours
        self.shown = ""

    def see(self, text: str) -> None:
        """Wait until `text` is shown, behind what was waited for before."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert time.monotonic() < deadline, (text, self.shown)
            if not self._read(deadline):
                raise AssertionError((text, self.shown))
        self.shown = self.shown.partition(text)[2]

    def type(self, line: str) -> None:
        """Type a line. Ctrl-C is `\\x03`, Ctrl-D `\\x04`."""
        os.write(self._ours, line.encode())

    def end(self) -> int:
        """Read to the end; the exit code. What was shown since the last `see` is in `shown`."""
        while self._read(time.monotonic() + PATIENCE):
            pass
        return self.process.wait(PATIENCE)

    def _read(self, deadline: float) -> bool:
        if not select.select([self._ours], [], [], max(0, deadline - time.monotonic()))[0]:
            return False
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # the other end was closed
            return False
        self.shown += piece.decode(errors="replace").replace("\r\n", "\n")
        return bool(piece)


def _take_terminal() -> None:
    """So that Ctrl-C is a signal to it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def on_terminal(
    *arguments: object, command: Sequence[str] = COMMAND, json: bool = False, **options: Any
) -> Iterator[Terminal]:
    """Start `web4` with a terminal as its standard streams; with `json` its standard output goes elsewhere."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*command, *map(str, arguments)],
        stdin=theirs,
        stdout=subprocess.DEVNULL if json else theirs,
        stderr=theirs,
        env=ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "200"},
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509 - there is no other thread
        **options,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
