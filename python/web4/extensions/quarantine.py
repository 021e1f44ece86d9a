"""When an extension fails too often it is left alone for a while (EXT-38). Pure: time comes in with each question."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

COUNTED: Final = frozenset(
    {
        "extension_timeout",
        "extension_start_timeout",
        "extension_start_failed",
        "extension_crashed",
        "extension_memory_exceeded",
        "extension_cpu_exceeded",
        "extension_output_exceeded",
        "extension_disk_exceeded",
        "extension_protocol_error",
    }
)
"""Codes of the kinds timeout, crash, resource and protocol. `worker_lost` is none: what killed that worker was."""
ANSWERED: Final = frozenset({None, "extension_error", "extension_invalid_result"})
"""Codes of calls to which the worker gave an answer in time. Whether it is a good one is its caller's concern."""

FAILURES: Final = 3
WINDOW_MS: Final = 60_000
FIRST_MS: Final = 30_000
LONGEST_MS: Final = 600_000
SUCCESSES: Final = 2

Mode = Literal["closed", "open", "trial"]


class BreakerState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a breaker remembers, and what is journalled of it. Times are Unix milliseconds.

    Args:
        failures: When the counted failures came, oldest first; at most as many as open it. Kept while it is closed.
        times: How often it opened since it was last closed; 0 means that it is closed.
        since: When it last opened.
        code: Of the failure that opened it last.
        successes: Trial calls that were answered since then.
    """

    failures: tuple[int, ...] = ()
    times: int = 0
    since: int = 0
    code: str | None = None
    successes: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the extension is quarantined; its trial calls are part of that."""
        return self.times > 0

    @property
    def duration_ms(self) -> int:
        """How long nothing at all is let through once it opened, milliseconds."""
        return 0 if not self.times else min(FIRST_MS << min(self.times - 1, 16), LONGEST_MS)

    @property
    def until(self) -> int:
        """When a trial call may be made, Unix milliseconds."""
        return self.since + self.duration_ms


_CLOSED: Final = BreakerState()


class Permit(NamedTuple):
    """Leave to make one call. Give it back with what came of the call, whatever that was."""

    epoch: int
    trial: bool


class Refused(NamedTuple):
    """No call is made now: `extension_quarantined`. It may be tried again in so many milliseconds."""

    retry_after_ms: int


class Change(NamedTuple):
    """The state became another one that has to be journalled: `extension.quarantined` or `extension.restored`."""

    event: Literal["quarantined", "restored"]
    state: BreakerState


class Breaker:
    """Decides whether an extension may be called (EXT-38). Deterministic; holds no clock and does no I/O.

    Times are Unix milliseconds, so that a state may outlive its process. The clock may jump: a wait is never longer
    than its duration seen from now, and at worst it is cut short by one trial call.

    Args:
        state: Where an earlier process left off; a new extension has none. A trial call that was under way then is
            forgotten, and so are the trial calls that were answered: two more are asked for.
    """

    __slots__ = ("_epoch", "_trial", "leave", "state")

    def __init__(self, state: BreakerState = _CLOSED) -> None:
        self.state = msgspec.structs.replace(state, successes=0) if state.successes else state
        self._epoch = 0
        self._trial = False
        self.leave = None if self.state.is_open else Permit(0, trial=False)
        """What `admit` would give at any time, while it is closed; None while it has to be asked."""

    def mode(self, now: int) -> Mode:
        """`closed`, `open`, or `trial` when the wait is over and it is not closed yet."""
        if not self.state.is_open:
            return "closed"
        return "open" if self._left(now) else "trial"

    def admit(self, now: int) -> Permit | Refused:
        """Ask for leave to make a call; one trial call at a time is let through after the wait."""
        if self.leave is not None:
            return self.leave
        left = self._left(now)
        if left or self._trial:
            return Refused(left)
        self._trial = True
        return Permit(self._epoch, trial=True)

    def conclude(self, permit: Permit, code: str | None, now: int) -> Change | None:
        """Take what came of a permitted call.

        Args:
            permit: What `admit` gave for it. One from before the last change of state says nothing any more: the
                calls that were open when it opened neither prolong its wait nor end it.
            code: Of the outcome; None when it is `ok`.
            now: Unix milliseconds.

        Returns:
            The change to be journalled, if there is one.
        """
        if permit.epoch != self._epoch:
            return None
        if permit.trial:
            self._trial = False
        if code in COUNTED:
            return self._failed(str(code), now)
        if permit.trial and code in ANSWERED:
            return self._answered()
        return None  # cancelled, busy, refused: it says nothing of the extension

    def reset(self) -> Change | None:
        """Close it because a human says so; the change, if it was not closed already."""
        was_open = self.state.is_open
        self._become(_CLOSED)
        return Change("restored", self.state) if was_open else None

    # --- inside -----------------------------------------------------------------------------------------

    def _left(self, now: int) -> int:
        """Milliseconds until a trial call may be made."""
        if now < self.state.since:  # the clock went back: count from here, never for longer than it should be
            self.state = msgspec.structs.replace(self.state, since=now)
        return max(0, self.state.until - now)

    def _failed(self, code: str, now: int) -> Change | None:
        state = self.state
        if state.is_open:
            return self._open(BreakerState(times=state.times + 1, since=now, code=code))
        # One that seems to lie ahead came before now all the same: the clock went back.
        recent = tuple(min(at, now) for at in state.failures if now - at <= WINDOW_MS)
        failures = (*recent, now)
        if len(failures) >= FAILURES:
            return self._open(BreakerState(times=1, since=now, code=code))
        self.state = msgspec.structs.replace(state, failures=failures)
        return None

    def _answered(self) -> Change | None:
        successes = self.state.successes + 1
        if successes < SUCCESSES:
            self.state = msgspec.structs.replace(self.state, successes=successes)
            return None
        self._become(_CLOSED)
        return Change("restored", self.state)

    def _open(self, state: BreakerState) -> Change:
        self._become(state)
        return Change("quarantined", state)

    def _become(self, state: BreakerState) -> None:
        self.state = state
        self._epoch += 1
        self._trial = False
        self.leave = None if state.is_open else Permit(self._epoch, trial=False)
