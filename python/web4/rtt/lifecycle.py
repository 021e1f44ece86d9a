"""What happens to a session as a whole: who is told, and what follows (sections 4, 11 to 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from web4.rtt.reconnect import FINAL

if TYPE_CHECKING:
    from web4.foundation.events import Emitter, Severity
    from web4.rtt.errors import RttError
    from web4.rtt.reconnect import Reconnector
    from web4.rtt.roster import Roster
    from web4.rtt.session import RttSession

REFUSALS = FINAL | {"busy", "limit"}
"""Codes with which the other side refuses a carrier (RTT-36)."""


class Lifecycle:
    """Turns the native events of one session's life into reports, and keeps roster and reconnector in step.

    A state has changed before anything here runs (RTT-11).
    """

    def __init__(self, session: RttSession, *, nursery: trio.Nursery, roster: Roster, emit: Emitter) -> None:
        self._session = session
        self._nursery = nursery
        self._roster = roster
        self._emit = emit
        self._carrier_since = trio.current_time()
        self._progress_then = session.link.progress
        self._over = False
        self.reconnector: Reconnector | None = None
        """Finds the session another carrier; None when that is the peer's to do (RTT-30)."""

    def report(self, type: str, /, *, severity: Severity = "info", **payload: Any) -> None:  # noqa: A002 - an event's
        """Emit an event of this session."""
        session = self._session
        self._emit(type, severity=severity, peer=session.peer, session_id=session.session_id.hex(), **payload)

    def happen(self, event: int) -> None:
        """The native session says that this happened to it.

        Hooks are told first: an emitter may do something to the session, and what comes of that happens later (RTT-54).
        """
        if self._over:
            # An emitter has ended the session before it could be told this.
            return
        match event:
            case 6:
                self._session.hooks.post("on_heartbeat_timeout", reason="heartbeat_timeout")
                self.report("heartbeat_timeout", severity="warning")
            case 7:
                self._closed()
            case 8:
                self._suspended()
            case 9:
                self._resumed()
            case 10:
                self.report("rekey", epoch=self._session.epoch)
                self._session.hooks.post("on_rekey")
            case 11 if self.reconnector is not None:
                self._nursery.start_soon(self.reconnector.replace)

    def resume_asked(self) -> None:
        """This side asks for another carrier."""
        self._roster.ledger.resume_asked(self._session.peer)

    def resume_failed(self, error: RttError) -> None:
        """It did not get one. What is no refusal is counted as a carrier that failed, and only so."""
        if error.code in REFUSALS:
            self._roster.ledger.resume_refused(self._session.peer, error.code)

    def _suspended(self) -> None:
        session = self._session
        # An initiator that replaces its carrier goes on in the same breath, unless it sees the old one end before the
        # new one is granted: whoever grants it ends the old one (RTT-48).
        reason = session.link.suspension or "replaced"
        if reason == "connection_lost" and self.reconnector is not None and self.reconnector.replacing:
            reason = "replaced"
        session.hooks.post("on_suspend", reason=reason)
        failure = session.link.failure
        self.report(
            "session_suspend", severity="warning", reason=reason, epoch=session.epoch, failure=failure
        )
        if session.state == "suspended":
            self._roster.suspended(session)
        if self.reconnector is not None and session.state == "suspended":
            lasted = trio.current_time() - self._carrier_since
            served = session.link.progress > self._progress_then
            self._nursery.start_soon(self.reconnector.run, lasted, served)

    def _resumed(self) -> None:
        self._carrier_since = trio.current_time()
        self._progress_then = self._session.link.progress
        self._session.reconnects += 1
        self._roster.resumed(self._session)
        self._session.hooks.post("on_resume", resumed=True)
        self.report("session_resume", epoch=self._session.epoch)

    def _closed(self) -> None:
        self._over = True
        session = self._session
        reason, code, _, loss = session.link.closed or ("local", "normal", "", None)
        if (report := session.close_report) is not None:
            session.hooks.post("on_lost", reason=loss or reason, lost=report)
            self.report("session_lost", severity="warning", reason=loss or reason, count=report.count)
        severity: Severity = "info" if reason in ("local", "peer") else "warning"
        self.report("session_close", severity=severity, reason=reason, code=code)
        session.hooks.post("on_close", reason=reason)
        if self.reconnector is not None:
            self.reconnector.stop()
