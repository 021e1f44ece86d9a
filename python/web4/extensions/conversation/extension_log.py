"""The log of an extension: bounded lines, redacted, never more than the node can bear (EXT-14, EXT-24)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import trio

from web4.extensions.conversation.call import LogLine
from web4.extensions.conversation.values import UnfitValueError, decode_value

if TYPE_CHECKING:
    from web4.extensions.conversation.arriving import Log
    from web4.extensions.conversation.terms import Terms

MAX_LINE: Final = 4096
"""Characters of a line; the rest of it is cut."""
BURST: Final = 1_000
"""Lines of a worker that pass at once."""
RATE: Final = 200.0
"""Lines a second that pass for good."""

Source = Literal["log", "stdout", "stderr"]
_BEGINS: Final = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----")
_ENDS: Final = re.compile(r"-----END [A-Z ]{0,40}PRIVATE KEY-----")
_LEVELS: Final[dict[str, str]] = {"stdout": "info", "stderr": "warning"}


class ExtensionLog:
    """Where the lines of one worker go. More than `BURST` and then `RATE` a second are counted and left out."""

    def __init__(self, terms: Terms, worker_id: str) -> None:
        self._terms = terms
        self._worker_id = worker_id
        self._allowance = float(BURST)
        self._since = trio.current_time()
        self._in_key: set[str] = set()
        self.call_id: str | None = None
        """The call that is charged with what is written now."""
        self.dropped = 0
        """Lines that were left out since the last that passed."""

    def frame(self, frame: Log) -> None:
        """Take a `log` frame."""
        if not self.passing(1):
            return
        text = frame.message[:MAX_LINE]
        try:
            if len(frame.fields) <= MAX_LINE and (fields := decode_value(frame.fields)):
                text += " " + msgspec.json.encode(fields).decode()
        except UnfitValueError:
            text += " (fields that cannot be read)"
        self.line("log", frame.level, text)

    def passing(self, wanted: int) -> int:
        """How many of `wanted` lines may pass now. The others are counted as dropped."""
        now = trio.current_time()
        self._allowance = min(BURST, self._allowance + (now - self._since) * RATE)
        self._since = now
        granted = min(wanted, int(self._allowance))
        self._allowance -= granted
        self.dropped += wanted - granted
        return granted

    def line(self, source: Source, level: str | None, text: str) -> None:
        """Hand a line on that `passing` has granted."""
        on_log = self._terms.on_log
        if on_log is None:
            return
        text = self._within_key(source, text)
        text = self._terms.redaction(text)[:MAX_LINE]
        dropped, self.dropped = self.dropped, 0
        on_log(
            LogLine(
                self._terms.manifest.name,
                self._worker_id,
                self.call_id,
                source,
                level or _LEVELS[source],
                text,
                dropped,
            )
        )

    def _within_key(self, source: Source, text: str) -> str:
        """A private key is spread over lines of which none looks like one."""
        if source in self._in_key:
            if _ENDS.search(text):
                self._in_key.discard(source)
            return "[redacted]"
        if _BEGINS.search(text) and not _ENDS.search(text):
            self._in_key.add(source)
        return text
