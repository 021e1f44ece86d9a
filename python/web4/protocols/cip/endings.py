"""How a session that did not go well is told of: as an error to who waits for it, as events to who looks on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.protocols.errors import HandshakeFailed

if TYPE_CHECKING:
    from web4.foundation.events import Emitter
    from web4.rtt import RttSession


def handshake_failed(reason: str | None, peer: str) -> HandshakeFailed:
    """Why the handshake did not succeed, of a session that was closed for `reason` (HS-3)."""
    known = {entry.code for entry in HandshakeFailed.codes}
    code = reason if reason in known else "closed"
    code = "bad_response" if reason == "auth_failure" else code
    return HandshakeFailed(f"the handshake did not succeed: {code}", code=code, peer=peer)


def report_journal(emit: Emitter, rtt: RttSession, error: Exception) -> None:
    """Say that a session ends because the lane of its peer cannot be kept."""
    emit(
        "error",
        severity="error",
        peer=rtt.peer,
        session_id=rtt.session_id.hex(),
        where="journal",
        error=type(error).__name__,
        code=getattr(error, "code", None),
    )


def report_unclosed(emit: Emitter, rtt: RttSession, error: Exception) -> None:
    """Say that a session was over before the peer had what was accepted for it (RTT-13)."""
    emit("error", severity="warning", peer=rtt.peer, where="aclose", error=type(error).__name__)
