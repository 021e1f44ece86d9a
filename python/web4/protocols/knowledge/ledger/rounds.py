"""What one decision of the ledger gathers: its events, the state after each, and what is to be looked at again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from web4.protocols.decisions import DecisionOutcome, DecisionRecord, derive_decision_id
from web4.protocols.knowledge.ledger import events
from web4.protocols.knowledge.ledger.applying import after
from web4.protocols.knowledge.ledger.state import LedgerState
from web4.protocols.knowledge.memory.events import (
    ClaimFlagged,
    ClaimRemembered,
    ContradictionSeen,
    EdgeSeen,
    ExperienceRecorded,
    ExperienceShared,
    Forgotten,
)
from web4.protocols.knowledge.memory.state import CausalMemory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.protocols.knowledge.ledger.events import LedgerEvent
    from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
    from web4.protocols.knowledge.memory.commands import MemoryCommand
    from web4.protocols.knowledge.memory.events import MemoryEvent
    from web4.protocols.knowledge.memory.logic import MemoryLogic, MemoryReply
    from web4.trust import TrustCommand

    KnowledgeEvent = LedgerEvent | MemoryEvent | DecisionRecord | DecisionOutcome

MOST_EVENTS: Final = 160
"""Events of one decision after which it looks at no further claim: a lane takes 512 at once."""
MOST_MARKED: Final = 2_000
"""Claims that one event marks."""
_MEMORY: Final = (
    ClaimFlagged,
    ClaimRemembered,
    ContradictionSeen,
    EdgeSeen,
    ExperienceRecorded,
    ExperienceShared,
    Forgotten,
)


class KnowledgeState(msgspec.Struct, frozen=True):
    """The state of lane `knowledge`: the ledger, and causal memory. Every change gives another one."""

    ledger: LedgerState = msgspec.field(default_factory=LedgerState)
    memory: CausalMemory = msgspec.field(default_factory=CausalMemory)


def applied(memory_logic: MemoryLogic, state: KnowledgeState, event: KnowledgeEvent) -> KnowledgeState:
    """Give the state after `event`."""
    if isinstance(event, _MEMORY):
        return replace(state, memory=memory_logic.apply(state.memory, event))
    if isinstance(event, DecisionRecord | DecisionOutcome):
        return state  # they are for readers of the lane
    return replace(state, ledger=after(state.ledger, event))


class Round:
    """One decision while it is taken. Nothing of it is seen outside before it is a tuple of events.

    Args:
        state: Before it.
        at_ms: Its time.
        cause: What led to it.
        node: This node's fingerprint.
        limits: See `KnowledgeLimits`.
        memory: The logic of causal memory.
    """

    def __init__(
        self,
        state: KnowledgeState,
        *,
        at_ms: int,
        cause: str,
        node: str,
        limits: KnowledgeLimits,
        memory: MemoryLogic,
    ) -> None:
        self.state = state
        self.at_ms = at_ms
        self.cause = cause
        self.node = node
        self.limits = limits
        self.events: list[KnowledgeEvent] = []
        self.outcomes: list[tuple[str, str]] = []
        self._memory = memory
        self._queue: dict[str, None] = {}
        self._charged: set[str] = set()

    @property
    def ledger(self) -> LedgerState:
        """The ledger as it is by now."""
        return self.state.ledger

    @property
    def full(self) -> bool:
        """Whether the rest is better left to the next decision."""
        return len(self.events) >= MOST_EVENTS

    def emit(self, event: KnowledgeEvent) -> None:
        """Add an event; what follows sees it."""
        self.events.append(event)
        self.state = applied(self._memory, self.state, event)

    def remember(self, command: MemoryCommand) -> MemoryReply:
        """Let causal memory decide a command."""
        decision = self._memory.decide(self.state.memory, command)
        for event in decision.events:
            self.emit(event)
        return decision.reply

    def answer(self, ref: str, outcome: str) -> None:
        """Say what became of one of the things that the command is about."""
        self.outcomes.append((ref, outcome))

    def decision_id(self, *parts: Any) -> str:
        """The id of a decision of this round: the same for the same command and parts."""
        return derive_decision_id(self.cause, *(str(one) for one in parts))

    def effect_id(self, *parts: Any) -> str:
        """The id of an effect: it begins with the part's name, by which a lane of several parts knows whose it is."""
        return f"{events.EFFECTS}{self.decision_id(*parts)}"

    # --- what is to be looked at ------------------------------------------------------------------------

    def look_at(self, keys: Iterable[str]) -> None:
        """Look at these claims before the round ends, or mark them for the next."""
        self._queue.update(dict.fromkeys(keys))

    def next_key(self) -> str | None:
        """The next claim to be looked at."""
        if not self._queue:
            return None
        key = next(iter(self._queue))
        del self._queue[key]
        return key

    def mark_rest(self) -> None:
        """Leave what was not looked at to the next decision, durably."""
        rest = [key for key in self._queue if key in self.ledger.claims and key not in self.ledger.dirty]
        self._queue = {}
        for start in range(0, len(rest), MOST_MARKED):
            marked = tuple(rest[start : start + MOST_MARKED])
            self.emit(events.ClaimsMarked(keys=marked, at_ms=self.at_ms))

    # --- effects on trust (ACT-3) -----------------------------------------------------------------------

    def tell_trust(
        self, peer: str, command: TrustCommand, *, about: str, decision_id: str | None = None
    ) -> None:
        """Let a peer's lane be told, once per peer and cause (ROUTE-3). This node is no peer of its own."""
        if peer == self.node or peer in self._charged:
            return
        self._charged.add(peer)
        changes = getattr(self.ledger.claims.get(about), "changes", 0)
        self.emit(
            events.TrustEffectRequested(
                effect_id=self.effect_id("trust", command.event, peer, about, changes),
                peer=peer,
                command=command,
                cause=self.cause,
                decision_id=decision_id,
            )
        )
