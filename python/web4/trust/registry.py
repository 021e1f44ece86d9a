"""All peers' TrustFSMs of a node: the one place where trust is asked for and changed."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import msgspec

from web4.foundation.events import no_events
from web4.trust.commands import Anchored
from web4.trust.fsm import TrustFSM, raise_refusal
from web4.trust.limits import TrustLimits
from web4.trust.record import TrustRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from web4.foundation.events import Emitter, Severity
    from web4.trust.commands import TrustCommand
    from web4.trust.events import TrustEvent
    from web4.trust.logic import TrustOutcome
    from web4.trust.table import TrustEventName, TrustState

    TrustObserver = Callable[[str, TrustEvent], None]

_HOUR_MS = 3_600_000
_OPERATOR_ACTS = frozenset({"operator_promote", "operator_block", "manual_override"})
_OPERATORS_WORD = _OPERATOR_ACTS | {"anchored"}
"""What makes records that TRUST-10 does not count: an operator's own. An introducer's count."""


class TrustRegistry:
    """One `TrustFSM` per fingerprint, made when a peer first leaves `unknown`.

    Observers are called after each committed event, in order of registration; they must not raise.

    Args:
        limits: See `TrustLimits`.
        emit: Where `trust_transition`, `trust_introduced` and `trust_override` go (OBS-2).
    """

    def __init__(self, *, limits: TrustLimits | None = None, emit: Emitter = no_events) -> None:
        self.limits = limits or TrustLimits()
        self._emit = emit
        self._peers: dict[str, TrustFSM] = {}
        self._newcomers: deque[int] = deque()
        self._observers: list[TrustObserver] = []
        self.unrecorded: Counter[TrustEventName] = Counter()
        """How often an event concerned a peer without a record and left it without one."""

    def __iter__(self) -> Iterator[TrustFSM]:
        return iter(tuple(self._peers.values()))

    def __len__(self) -> int:
        return len(self._peers)

    def state(self, peer: str) -> TrustState:
        """How far `peer` is trusted; `unknown` without a record."""
        return self.record(peer).state

    def record(self, peer: str) -> TrustRecord:
        """What is held about `peer`; the default record if nothing is."""
        fsm = self._peers.get(peer)
        return TrustRecord() if fsm is None else fsm.record

    def fsm(self, peer: str) -> TrustFSM | None:
        """The peer's machine, or None while it is unknown."""
        return self._peers.get(peer)

    def anchor(self, peers: Iterable[str], *, at_ms: int) -> None:
        """Raise `anchored` for every peer that the configuration pins (TRUST-5)."""
        for peer in peers:
            self.handle(peer, Anchored(at_ms=at_ms))

    def newcomer_allowed(self, at_ms: int) -> bool:
        """Whether one more record may be made of an unknown peer now (TRUST-10)."""
        while self._newcomers and at_ms - self._newcomers[0] >= _HOUR_MS:
            self._newcomers.popleft()
        return len(self._newcomers) < self.limits.newcomers_per_hour

    def newcomer_retry_ms(self, at_ms: int) -> int:
        """Milliseconds until the next newcomer has a chance; 0 if one has now."""
        if self.newcomer_allowed(at_ms):
            return 0
        return self._newcomers[0] + _HOUR_MS - at_ms

    def handle(self, peer: str, command: TrustCommand) -> TrustOutcome:
        """Decide `command` for `peer`, commit and report what it leads to.

        Raises:
            TrustCommandError: The command lacks a human, a reason, evidence or a trusted introducer.
            TrustViolationError: `newcomer_limit` (TRUST-10).
        """
        fsm = self._peers.get(peer) or TrustFSM(peer, limits=self.limits)
        allowed = fsm.state != "unknown" or self.newcomer_allowed(command.at_ms)
        decision = fsm.decide(msgspec.structs.replace(command, newcomer_allowed=allowed))
        raise_refusal(decision.reply, peer)
        self.count(decision.reply)
        for event in decision.events:
            self.commit(peer, event)
        return decision.reply

    def count(self, outcome: TrustOutcome) -> None:
        """Count an event that left no record: a stranger's leaves this number and nothing else (TRUST-1)."""
        if outcome.unrecorded is not None:
            self.unrecorded[outcome.unrecorded] += 1

    def commit(self, peer: str, event: TrustEvent) -> None:
        """Take in and report an event that was decided on the peer's present record."""
        fsm = self._peers.get(peer) or TrustFSM(peer, limits=self.limits)
        fsm.commit(event)
        self._peers[peer] = fsm
        if event.from_ == "unknown" and event.event not in _OPERATORS_WORD:
            self._newcomers.append(event.at_ms)
        self._report(peer, event)
        for observer in tuple(self._observers):
            observer(peer, event)

    def observe(self, observer: TrustObserver) -> Callable[[], None]:
        """Call `observer(peer, event)` after each event from now on; returns how to end that."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer) if observer in self._observers else None

    def _report(self, peer: str, event: TrustEvent) -> None:
        kind = "trust_transition"
        if event.event in _OPERATOR_ACTS:
            kind = "trust_override"
        elif event.event == "introduced":
            kind = "trust_introduced"
        severity: Severity = "debug"
        if event.moved:
            severity = "warning" if event.to in {"untrusted", "blacklisted"} else "info"
        fields = msgspec.to_builtins(event)
        self._emit(kind, severity=severity, peer=peer, state=event.to, **fields)
