"""A call as whoever waits for it sees it: its progress, its log, its questions, all on standard error."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from web4.cli.extensions.terminal import answer_extension
from web4.cli.output import warn
from web4.cli.text import visible

if TYPE_CHECKING:
    from web4.cli.output import Output
    from web4.extensions.conversation.call import LogLine, ProgressUpdate, UiQuestion, UiReply

_EVERY_S: Final = 10.0
"""How often progress is told where there is no terminal (UX-5)."""
_CLEAR: Final = "\r\x1b[2K"
_WIDTH: Final = 100


class Watcher:
    """Shows what comes. On a terminal progress is one line that changes; elsewhere a line every ten seconds.

    Args:
        output: Of the verb.
    """

    def __init__(self, output: Output) -> None:
        self._quiet = output.quiet
        self._live = sys.stderr.isatty()
        self._shown = False
        self._told = time.monotonic()

    def progress(self, update: ProgressUpdate) -> None:
        """How far it has come."""
        if self._quiet:
            return
        share = "" if update.fraction is None else f"{update.fraction:4.0%} "
        text = visible(f"{share}{update.message or ''}")[:_WIDTH]
        if self._live:
            sys.stderr.write(f"{_CLEAR}{text}")
            sys.stderr.flush()
            self._shown = True
        elif time.monotonic() - self._told >= _EVERY_S:
            self._told = time.monotonic()
            warn(text)

    def log(self, line: LogLine) -> None:
        """A line that it logged or printed."""
        if not self._quiet:
            self.clear()
            if line.dropped:
                warn(f"{line.extension}: {line.dropped} lines are left out")
            warn(f"{line.extension}: {line.text}")

    async def ask(self, question: UiQuestion) -> UiReply:
        """It asks the person something."""
        self.clear()
        return await answer_extension(question)

    def clear(self) -> None:
        """Take the line of progress away."""
        if self._shown:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
            self._shown = False
