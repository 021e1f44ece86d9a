"""All peers' TrustFSMs of a node: the one place where trust is asked for and changed."""

from __future__ import annotations

from bisect import insort
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

import msgspec

from web4.foundation.clock import has_passed
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


_NO_RECORD: Final = TrustRecord()


class TrustRegistry:
    """One `TrustFSM` per fingerprint, made when a peer first leaves `unknown`.

    Observers are called after each committed event, in order of registration; they must not raise.

    Alone it keeps trust in memory, and `handle` and `anchor` change it. Once the owner of durable lanes has taken
    it over (`keep_on_lanes`), it shows what is durable: events come by `commit` when their lane has them, what was
    known before comes by `remember`, and commands go to that owner.

    Args:
        limits: See `TrustLimits`.
        emit: Where `trust_transition`, `trust_introduced` and `trust_override` go (OBS-2).
    """

    def __init__(self, *, limits: TrustLimits | None = None, emit: Emitter = no_events) -> None:
        self.limits = limits or TrustLimits()
        self._emit = emit
        self._peers: dict[str, TrustFSM] = {}
        self._remembered: dict[str, TrustRecord] = {}
        self._on_lanes = False
        self._newcomers: deque[int] = deque()
        self._observers: list[TrustObserver] = []
        self.unrecorded: Counter[TrustEventName] = Counter()
        """How often an event concerned a peer without a record and left it without one."""

    def __iter__(self) -> Iterator[TrustFSM]:
        for peer in (*self._peers, *self._remembered):
            fsm = self.fsm(peer)
            if fsm is not None:
                yield fsm

    def __len__(self) -> int:
        return len(self._peers) + len(self._remembered)

    def state(self, peer: str) -> TrustState:
        """How far `peer` is trusted; `unknown` without a record."""
        return self.record(peer).state

    def record(self, peer: str) -> TrustRecord:
        """What is held about `peer`; the default record if nothing is."""
        fsm = self._peers.get(peer)
        if fsm is not None:
            return fsm.record
        return self._remembered.get(peer, _NO_RECORD)

    def fsm(self, peer: str) -> TrustFSM | None:
        """The peer's machine, or None while it is unknown. One that was remembered begins with an empty log."""
        fsm = self._peers.get(peer)
        if fsm is None and peer in self._remembered:
            return TrustFSM(peer, limits=self.limits, base=self._remembered[peer])
        return fsm

    # --- on lanes ---------------------------------------------------------------------------------------

    def keep_on_lanes(self) -> None:
        """Take commands no longer: from now on events come from durable lanes, by `commit`.

        Raises:
            RuntimeError: Trust is held here that no lane knows of, or lanes keep it already.
        """
        if self._on_lanes or self._peers:
            raise RuntimeError("this registry holds trust already; give each durable runtime a new one")
        self._on_lanes = True

    def remember(self, peer: str, record: TrustRecord, *, now_ms: int) -> None:
        """Take in what a lane says of a peer from before; observers are not called. Nothing if it is unknown."""
        if record.state == "unknown" or peer in self._peers or peer in self._remembered:
            return
        self._remembered[peer] = record
        if record.newcomer_at_ms and not has_passed(record.newcomer_at_ms, _HOUR_MS, now_ms):
            insort(self._newcomers, record.newcomer_at_ms)

    def fold(self, peer: str) -> None:
        """Let a peer's log go from memory, and keep its record: its lane has the log."""
        if self._on_lanes and (fsm := self._peers.pop(peer, None)) is not None:
            self._remembered[peer] = fsm.record

    def count_newcomer(self, at_ms: int) -> None:
        """Count a newcomer that was decided on a lane and is not durable yet.

        It stays counted if it never will be: a node whose journal fails lets fewer strangers in, not more.
        """
        self._newcomers.append(at_ms)

    # --- in memory --------------------------------------------------------------------------------------

    def anchor(self, peers: Iterable[str], *, at_ms: int) -> None:
        """Raise `anchored` for every peer that the configuration pins (TRUST-5).

        Raises:
            RuntimeError: Trust is kept on lanes.
        """
        for peer in peers:
            self.handle(peer, Anchored(at_ms=at_ms))

    def newcomer_allowed(self, at_ms: int) -> bool:
        """Whether one more record may be made of an unknown peer now (TRUST-10)."""
        while self._newcomers and has_passed(self._newcomers[0], _HOUR_MS, at_ms):
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
            RuntimeError: Trust is kept on lanes.
        """
        if self._on_lanes:
            raise RuntimeError("trust is kept on lanes: await `CipRuntime.trust_command`")
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
        """Take in and report an event that was decided on the peer's present record; on lanes, once it is durable."""
        fsm = self.fsm(peer) or TrustFSM(peer, limits=self.limits)
        fsm.commit(event)
        self._peers[peer] = fsm
        self._remembered.pop(peer, None)
        if event.is_newcomer and not self._on_lanes:
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
