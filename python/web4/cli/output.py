"""What a verb says: its answer on standard output, everything else on standard error (UX-3)."""

from __future__ import annotations

import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from web4.cli.text import paint, visible

if TYPE_CHECKING:
    from collections.abc import Iterable

_PIECE: Final = 4096
"""What a pipe takes without blocking once it takes anything."""
_HELD: Final = 64 * 1024
_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]")


def _as_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def encode(document: Any) -> str:
    """One line of JSON in ASCII: a terminal that shows it obeys nothing that stands in it."""
    text = msgspec.json.encode(document).decode()
    return text if text.isascii() else _BEYOND_ASCII.sub(_as_escape, text)


class Output:
    """Standard output and standard error of one verb.

    A reader that is slow or stands still never keeps the verb from being interrupted.

    Args:
        json: Whether standard output holds JSON only.
        quiet: Whether progress and notices are left out.
    """

    def __init__(self, *, json: bool, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self._held = bytearray()
        self._waits = True
        self._lost = False

    async def line(self, text: str) -> None:
        """Write one line; it is seen after the next `flush`, or when enough has come together."""
        self._held += text.encode("utf-8", "backslashreplace") + b"\n"
        if len(self._held) >= _HELD:
            await self.flush()

    async def lines(self, texts: Iterable[str]) -> None:
        """Write some lines."""
        for text in texts:
            await self.line(text)

    async def document(self, document: Any) -> None:
        """Write one object of JSON."""
        await self.line(encode(document))

    async def flush(self) -> None:
        """Write what is held.

        Raises:
            BrokenPipeError: Nobody reads it any more.
            OSError: It cannot be written. From then on nothing is.
        """
        if self._lost:
            return
        descriptor = sys.stdout.fileno()
        waits = self._waits and not stat.S_ISREG(os.fstat(descriptor).st_mode)
        while self._held:
            if waits:
                try:
                    await trio.lowlevel.wait_writable(descriptor)
                except OSError:  # what cannot be waited for, as /dev/null, never blocks
                    waits = self._waits = False
            else:
                await trio.lowlevel.checkpoint()
            try:
                written = os.write(descriptor, self._held[: _PIECE if waits else _HELD])
            except OSError as error:
                self._lost = True
                error.filename = "standard output"
                raise
            del self._held[:written]

    def notice(self, text: str) -> None:
        """Say something to people that is no part of the answer."""
        if not self.quiet:
            warn(text)


def warn(text: str) -> None:
    """Write one line to standard error. One that cannot be written is lost."""
    try:
        sys.stderr.write(visible(text) + "\n")
        sys.stderr.flush()
    except OSError:
        pass


def tell_failure(message: str, hint: str | None) -> None:
    """Tell people of an error."""
    try:
        on = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        sys.stderr.write(f"{paint('web4:', 'red', on=on)} {visible(message)}\n")
        if hint:
            sys.stderr.write(f"      {visible(hint)}\n")
        sys.stderr.flush()
    except OSError:
        pass
