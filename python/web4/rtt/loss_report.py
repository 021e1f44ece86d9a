"""What a session's end says: the report of what was not acknowledged, and the error every operation raises (RTT-25)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.rtt.errors import LostMessage, ProtocolError, RttError, SessionClosedError, SessionLost

if TYPE_CHECKING:
    from web4._core import SessionLink


class LossReport:
    """Reads the end of a native session; takes what is lost out of it once, and says it as often as it is asked."""

    def __init__(self, link: SessionLink, peer: str) -> None:
        self._link = link
        self._peer = peer
        self._lost: list[tuple[int, str, str, int, bool, bytes]] | None = None

    def report(self) -> SessionLost | None:
        """After the end: what was accepted and never acknowledged, or None when everything was and nothing was lost."""
        closed = self._link.closed
        if closed is None:
            return None
        if self._lost is None:
            self._lost = self._link.take_lost()
        reason, _, _, loss = closed
        if not self._lost and loss is None:
            return None
        return SessionLost(
            f"the session with {self._peer[:12]} ended ({loss or reason}); "
            f"{len(self._lost)} messages are not acknowledged",
            reason=loss or reason,
            peer=self._peer,
            messages=[
                LostMessage(channel, name, kind, index, len(content), "unsent" if unsent else "unknown")
                for channel, name, kind, index, unsent, content in self._lost
            ],
            contents=[entry[5] for entry in self._lost],
        )

    def error(self) -> RttError:
        """What every operation raises now that the session is over, or closing: a new one for each."""
        reason, code, text, loss = self._link.closed or ("local", "normal", "", None)
        if loss is not None and (report := self.report()) is not None:
            return report
        if reason == "protocol_error":
            return ProtocolError(f"the peer broke the transport's rules: {code}", peer=self._peer)
        told = f": {text or code}" if text or code != "normal" else ""
        by = "the peer" if reason == "peer" else "this side"
        return SessionClosedError(f"the session was closed by {by}{told}", reason=reason, peer=self._peer)
