"""One peer's trust, held in memory: the record, and the events that led to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.foundation.logic import replay
from web4.trust.errors import TrustCommandError, TrustViolationError
from web4.trust.limits import TrustLimits
from web4.trust.logic import TrustLogic, TrustOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.foundation.logic import Decision
    from web4.trust.commands import TrustCommand
    from web4.trust.events import TrustEvent
    from web4.trust.record import TrustRecord
    from web4.trust.table import TrustState


class TrustFSM:
    """The state machine of one peer fingerprint (section 9): `TrustLogic` over a list of events in memory.

    The list is bounded: when it passes `TrustLimits.log_events`, its older half is folded into `base`, so
    that `base` and `log` together always rebuild `record`.

    Args:
        peer: Fingerprint of the peer, 64 lowercase hex digits.
        limits: See `TrustLimits`.
        base: The record to start from; an unknown peer's when left out.
    """

    def __init__(
        self, peer: str, *, limits: TrustLimits | None = None, base: TrustRecord | None = None
    ) -> None:
        self.peer = peer
        self.logic = TrustLogic(limits or TrustLimits())
        self.base = self.logic.initial if base is None else base
        self._record = self.base
        self._log: list[TrustEvent] = []

    @classmethod
    def rebuilt(
        cls,
        peer: str,
        events: Iterable[TrustEvent],
        *,
        limits: TrustLimits | None = None,
        base: TrustRecord | None = None,
    ) -> TrustFSM:
        """Rebuild a machine from its events (TRUST-7)."""
        fsm = cls(peer, limits=limits, base=base)
        for event in events:
            fsm.commit(event)
        return fsm

    @property
    def state(self) -> TrustState:
        """The peer's trust now."""
        return self._record.state

    @property
    def record(self) -> TrustRecord:
        """Everything that is held about the peer."""
        return self._record

    @property
    def log(self) -> tuple[TrustEvent, ...]:
        """The events since `base`, oldest first."""
        return tuple(self._log)

    def decide(self, command: TrustCommand) -> Decision[TrustEvent, TrustOutcome]:
        """Say what `command` would lead to; changes nothing."""
        return self.logic.decide(self._record, command)

    def commit(self, event: TrustEvent) -> None:
        """Take in an event that was decided on the present record.

        Raises:
            ValueError: The event does not follow the last one.
        """
        if event.seq != self._record.seq + 1:
            raise ValueError(f"event {event.seq} does not follow {self._record.seq}")
        self._record = self.logic.apply(self._record, event)
        self._log.append(event)
        if len(self._log) > self.logic.limits.log_events:
            half = len(self._log) // 2
            self.base = replay(self.logic, self._log[:half], base=self.base)
            del self._log[:half]

    def handle(self, command: TrustCommand) -> TrustOutcome:
        """Decide `command` and commit what it leads to.

        Raises:
            TrustCommandError: The command lacks a human, a reason, evidence or a trusted introducer.
            TrustViolationError: `newcomer_limit`, when no more new records are allowed (TRUST-10).
        """
        decision = self.decide(command)
        raise_refusal(decision.reply, self.peer)
        for event in decision.events:
            self.commit(event)
        return decision.reply

    def __repr__(self) -> str:
        return f"<TrustFSM {self.peer[:12]} {self.state} seq={self._record.seq}>"


def raise_refusal(outcome: TrustOutcome, peer: str) -> None:
    """Raise the error of a refused outcome; do nothing for any other."""
    match outcome.refused:
        case None:
            return
        case "newcomer_limit":
            raise TrustViolationError("too many new peers this hour", code="newcomer_limit", peer=peer)
        case code:
            raise TrustCommandError("the command lacks what its event requires", code=code, peer=peer)
