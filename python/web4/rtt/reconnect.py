"""Finding a session another carrier: when to try, and when to stop (section 12)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import trio

from web4.rtt.errors import AuthenticationError, HandshakeError, RttError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.rtt.session import RttSession

STEADY = 10.0
"""Seconds after which a carrier has proven that reconnecting works: the count returns to 0 (RTT-45)."""

BRIEF = 0.05
"""Seconds. After a carrier that lived shorter than this and carried nothing the first attempt waits, too: a peer that
accepts carriers only to drop them would be dialled without a pause."""

FINAL = {
    "not_admitted",
    "unknown_session",
    "ticket_spent",
    "ticket_expired",
    "stale_epoch",
    "version",
    "extension",
    "bad_cursor",
    "refused",
}
"""Refusals after which trying again cannot help (RTT-36)."""


class BackOff:
    """How long to wait before each attempt (RTT-45). Pure: time and chance come in."""

    def __init__(self, base: float, cap: float, fraction: Callable[[], float]) -> None:
        """Begin the count.

        Args:
            base: Seconds, of attempt 0.
            cap: The most seconds of any attempt.
            fraction: Gives a random number from 0 to 1.
        """
        self._base = base
        self._cap = cap
        self._fraction = fraction
        self.count = 0
        """Attempts that waited since a carrier was steady."""

    def carrier_ended(self, lasted: float, *, served: bool) -> float:
        """A carrier is gone: how long to wait before the first attempt.

        Args:
            lasted: For how many seconds it was open.
            served: Whether it carried anything that either end had not.
        """
        if lasted >= STEADY:
            self.count = 0
        return 0.0 if served or lasted >= BRIEF else self.next_delay()

    def next_delay(self) -> float:
        """How long to wait before the next attempt, after one that failed."""
        # 2.0 ** 1024 is out of range, and no cap needs so many.
        most = min(self._cap, self._base * 2.0 ** min(self.count, 64))
        self.count += 1
        return most / 2 + most / 2 * self._fraction()


class Attempts(NamedTuple):
    """How the search for another carrier goes.

    Args:
        failure: The code of the last attempt that failed since there was a carrier; None if none did.
        failed_at: When it did, on Trio's clock.
        next_at: When the next attempt is made, on Trio's clock; None while one is under way.
    """

    failure: str | None = None
    failed_at: float | None = None
    next_at: float | None = None


class Reconnector:
    """Resumes one session of which this endpoint is the initiator, as often as it must."""

    def __init__(
        self, session: RttSession, attempt: Callable[[RttSession], Awaitable[None]], back_off: BackOff
    ) -> None:
        """Attend to a session.

        Args:
            session: The session.
            attempt: Tries once to give it another carrier; raises an `RttError` when that fails.
            back_off: When to try.
        """
        self._session = session
        self._attempt = attempt
        self._back_off = back_off
        self._running: trio.CancelScope | None = None
        self._replacing: trio.CancelScope | None = None
        self._one_at_a_time = trio.Lock()
        self._hurry = trio.Event()
        self.attempts = Attempts()
        """Of a suspended session: how the search for another carrier goes."""

    @property
    def replacing(self) -> bool:
        """Whether a new carrier for an open session is under way."""
        return self._replacing is not None

    def hurry(self) -> None:
        """Skip the pause that is under way. A pause that the peer asked for stays."""
        self._hurry.set()

    def stop(self) -> None:
        """End every attempt that is under way, and all that would follow."""
        for scope in (self._running, self._replacing):
            if scope is not None:
                scope.cancel()

    async def run(self, lasted: float, served: bool) -> None:
        """Try until the session has a carrier or is over. Of the last one: see `BackOff.carrier_ended`."""
        if self._running is not None:
            self._running.cancel()
        with trio.CancelScope() as self._running:
            delay = self._back_off.carrier_ended(lasted, served=served)
            self.attempts = Attempts()
            while self._session.state == "suspended":
                if delay:
                    self.attempts = self.attempts._replace(next_at=trio.current_time() + delay)
                    with trio.move_on_after(delay):
                        await self._hurry.wait()
                    self._hurry = trio.Event()
                self.attempts = self.attempts._replace(next_at=None)
                try:
                    await self._try("suspended")
                except RttError as error:
                    loss = self._verdict(error)
                    if loss is not None:
                        self._session.lose(loss)
                        return
                    asked = (error.retry_after_ms or 0) / 1000
                    now = trio.current_time()
                    self.attempts = Attempts(error.code, now, now + asked if asked else None)
                    await trio.sleep(asked)
                else:
                    self._hurry = trio.Event()
                    return
                delay = self._back_off.next_delay()

    async def replace(self) -> None:
        """Give an open session a new carrier before its old one is too old (RTT-48). Failing changes nothing."""
        if self._replacing is not None:
            # The one that is under way is not over.
            return
        try:
            # What goes wrong is reported where it happened, and the session asks again.
            with trio.CancelScope() as self._replacing, suppress(RttError):
                await self._try("open")
        finally:
            self._replacing = None

    async def _try(self, state: str) -> None:
        """Try once if the session is in that state when the attempt before is over.

        Of two requests under way, the earlier one's CONFIRM could spend the ticket that the later one shows (RTT-32).
        And whoever grants a replacement ends the old carrier, which is no reason to give the new one up.
        """
        async with self._one_at_a_time:
            if self._session.state == state:
                await self._attempt(self._session)

    def _verdict(self, error: RttError) -> str | None:
        """How the session is lost by a failed attempt, or None when another one may succeed (RTT-46)."""
        if isinstance(error, AuthenticationError):
            return "auth_failed"
        if not isinstance(error, HandshakeError) or error.code not in FINAL:
            return None
        if error.code == "unknown_session" and self._session.peer_has_restarted:
            return "peer_restarted"
        return "cursor_invalid" if error.code == "bad_cursor" else error.code
