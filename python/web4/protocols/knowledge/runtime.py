"""What this node knows, for the rest of it: proposals, votes, questions, and what peers say (sections 10 and 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from web4.actors.composite import CompositeState
from web4.actors.errors import MailboxFullError
from web4.foundation.clock import SystemClock
from web4.foundation.events import no_events
from web4.foundation.ids import SystemIds
from web4.journal.errors import JournalUnavailable
from web4.journal.lane import KNOWLEDGE
from web4.protocols.knowledge import asking, commands, handlers
from web4.protocols.knowledge.definition import PART, KnowledgeLane
from web4.protocols.knowledge.errors import HumanDecisionRefused, KnowledgeError, UnknownFactRef
from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
from web4.protocols.knowledge.logic import KnowledgeLogic
from web4.protocols.knowledge.own_voice import OwnVoice
from web4.protocols.knowledge.reporting import report
from web4.protocols.ports import TrustView
from web4.protocols.router.results import HandlerResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from typing import Literal

    from web4.actors import LaneActors, LaneRef
    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.foundation.ids import IdSource
    from web4.journal.journal import Journal
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.knowledge.commands import KnowledgeCommand
    from web4.protocols.knowledge.ledger.claims import Claim, ClaimStatus
    from web4.protocols.knowledge.ledger.evaluation import Load
    from web4.protocols.knowledge.ledger.rounds import KnowledgeState
    from web4.protocols.knowledge.logic import KnowledgeReply
    from web4.protocols.knowledge.memory.checking import Checked
    from web4.protocols.knowledge.memory.commands import MemoryCommand
    from web4.protocols.knowledge.memory.entries import SaysTriple
    from web4.protocols.knowledge.memory.logic import MemoryReply
    from web4.protocols.knowledge.memory.state import CausalMemory
    from web4.protocols.knowledge.sources.tiers import Source, Tier
    from web4.protocols.ports import CommandTrust, SendMessage
    from web4.protocols.router.results import Handler
    from web4.trust import TrustEvent

TICK_SECONDS: Final = 30.0
AGAIN_SECONDS: Final = 1.0
"""After so long is asked again what the lane did not take."""
"""How often the ledger looks for what is over its time."""
HANDLED: Final = (
    ("cip", "FACT_PROPOSE"),
    ("cip", "FACT_CONFIRM"),
    ("cip", "FACT_REJECT"),
    ("cip", "FACT_CHALLENGE"),
    ("lip", "LIP_EVIDENCE"),
    ("lip", "LIP_CONFLICT"),
    ("lip", "LIP_ACCEPT"),
    ("lip", "LIP_REJECT"),
)
"""What the router brings here (section 14)."""


class _Known(Protocol):
    """A peer with a record."""

    peer: str


class TrustBook(TrustView, Protocol):
    """How far peers are trusted, and which there are: the `TrustRegistry`."""

    def __iter__(self) -> Iterator[_Known]:
        """Every peer with a record."""
        ...


class TakesHandlers(Protocol):
    """A router, as far as this room needs one."""

    def register(self, protocol: Any, type_name: Any, handler: Handler, /, *, idempotent: bool = ...) -> Any:
        """Let `handler` see the messages of a type."""
        ...


class KnowledgeRuntime(OwnVoice):
    """The ledger and causal memory of a node, as an actor over lane `knowledge`.

    Give `definition` to `open_lane_actors`, then `bind`, then let `run` run. All that is told here is durable when a
    method returns; cancelled, it may have happened all the same.

    Args:
        node: This node's fingerprint.
        trust: Tells a peer's lane what happened here (TRUST-9).
        send: Says something to a peer, through its outbox.
        view: How far peers are trusted.
        limits: See `KnowledgeLimits`.
        clock: Gives the time that commands bring.
        ids: Gives the ids that they bring.
        emit: Where observers hear of changes, once they are durable (OBS-2).
    """

    def __init__(
        self,
        node: str,
        *,
        trust: CommandTrust,
        send: SendMessage,
        view: TrustBook,
        limits: KnowledgeLimits | None = None,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        emit: Emitter = no_events,
    ) -> None:
        self.node = node
        self.limits = limits or KnowledgeLimits()
        self.clock = clock or SystemClock()
        self.ids = ids or SystemIds()
        self.definition = KnowledgeLane(
            KnowledgeLogic(node, limits=self.limits), trust=trust, send=send, now=self.clock.wall_ms
        )
        self._view = view
        self._emit = emit
        self._lane: LaneRef | None = None
        self._changed: dict[str, None] = {}
        """Peers whose trust changed, and which the lane was not told of yet: as many as there are peers."""
        self._wake = trio.Event()

    def bind(self, actors: LaneActors) -> None:
        """Take the actors that the lane runs under."""
        self._lane = actors.lane(KNOWLEDGE)

    def register(self, router: TakesHandlers) -> None:
        """Let a router bring the messages of the ledger here."""
        for protocol, type_name in HANDLED:
            router.register(protocol, type_name, self.handle, idempotent=True)

    async def run(self) -> None:
        """Follow the trust of peers and the time, for ever.

        While the journal takes nothing it is tried again. Cancellation: at any moment; the next run catches up.

        Raises:
            JournalError, ActorError: The lane takes nothing any more.
        """
        stop = self._view.observe(self._trust_moved)
        try:
            for known in tuple(self._view):
                self._changed[known.peer] = None
            self._changed.update(dict.fromkeys((await self.state()).ledger.peers))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_patiently, self._follow_trust)
                nursery.start_soon(_patiently, self._tick)
        finally:
            stop()

    # --- what peers say ---------------------------------------------------------------------------------

    async def handle(self, delivery: Delivery) -> HandlerResult:
        """Take in a message for the ledger; the same message again changes nothing (ROUTE-4).

        Raises:
            JournalError, ActorError: It was not taken in, as far as is known.
        """
        try:
            told = handlers.commands_of(delivery, self.limits)
        except KnowledgeError as error:
            return HandlerResult("refused", error=error)
        await self.see_trust(delivery.peer)
        outcomes: list[tuple[str, str]] = []
        for command in told:
            outcomes += (await self.ask(command)).outcomes
        return handlers.result_of(delivery, outcomes)

    # --- what other lanes say ---------------------------------------------------------------------------

    async def see_trust(self, peer: str) -> None:
        """Tell the lane how far a peer is trusted and by whom it is here, if it does not know."""
        record = self._view.record(peer)
        known = (await self.state()).ledger.peer(peer)
        if (known.state, known.introducer) != (record.state, record.introducer):
            await self.ask(
                commands.TrustSeen(
                    at_ms=self.clock.wall_ms(),
                    cause=self.ids.uuid4(),
                    peer=peer,
                    state=record.state,
                    introducer=record.introducer,
                )
            )

    async def see_load(self, load: Load) -> None:
        """Tell the lane how this node is (PACE-2); recorded only when it matters to claims."""
        was = (await self.state()).ledger.load
        if (was.overloaded, was.learning) != (load.overloaded, load.learning):
            await self.ask(commands.LoadSeen(at_ms=self.clock.wall_ms(), cause=self.ids.uuid4(), load=load))

    # --- what a human of this node says -----------------------------------------------------------------

    async def decide_as_human(
        self, ref: str, decision: Literal["accept", "reject"], human: str, reason: str
    ) -> Claim:
        """Decide about a claim in a human's name (KNOW-6, a); the claim after it.

        Raises:
            HumanDecisionRefused: The name or the reason is missing.
            UnknownFactRef: There is no such claim.
        """
        _require_human(human, reason)
        reply = await self.ask(
            commands.HumanDecision(
                at_ms=self.clock.wall_ms(),
                cause=self.ids.uuid4(),
                key=ref,
                decision=decision,
                human=human,
                reason=reason,
            )
        )
        if reply.outcomes[0][1] == "unknown_fact_ref":
            raise UnknownFactRef("no claim of this node has this reference")
        return await self.claim(ref)

    async def set_tier(self, domain: str, tier: Tier, human: str, reason: str) -> None:
        """Say in a human's name how far a source is trusted: the one way out of `blocked` (LIP-2).

        Raises:
            HumanDecisionRefused: The name or the reason is missing.
        """
        _require_human(human, reason)
        await self.ask(
            commands.TierSet(
                at_ms=self.clock.wall_ms(),
                cause=self.ids.uuid4(),
                domain=domain.lower(),
                tier=tier,
                human=human,
                reason=reason,
            )
        )

    # --- questions --------------------------------------------------------------------------------------

    async def claim(self, ref: str) -> Claim:
        """The claim of a key, or of the `msg_id` of a proposal.

        Raises:
            UnknownFactRef: There is none.
        """
        found = (await self.state()).ledger.find(ref)
        if found is None:
            raise UnknownFactRef("no claim of this node has this reference")
        return found

    async def claims(
        self,
        status: ClaimStatus | None = None,
        *,
        domain: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Claim]:
        """Claims in the order of their keys.

        Args:
            status: Only those that are this.
            domain: Only those of this domain.
            after: Only those behind this key: the last of the page before.
            limit: At most so many, at least 1.
        """
        return asking.claims(
            (await self.state()).ledger, status=status, domain=domain, after=after, limit=limit
        )

    async def why(self, journal: Journal, ref: str, *, limit: int = 100) -> list[asking.Told]:
        """The events that made a claim what it is, oldest first: votes, changes, decisions (OBS-7).

        Raises:
            UnknownFactRef: There is no such claim.
            JournalError: The lane cannot be read.
        """
        return await asking.why(journal, (await self.claim(ref)).key, limit=limit)

    async def check(self, statement: str, domain: str, triple: SaysTriple | None = None) -> Checked:
        """What causal memory says of a statement (MEM-4).

        Raises:
            ValueError: It has no canonical form.
        """
        return asking.check((await self.state()).memory, statement, domain, triple)

    async def source(self, domain: str) -> Source:
        """What is known of a source, by its registrable domain (LIP-2)."""
        return (await self.state()).ledger.source(domain.lower())

    def trusted(self) -> list[str]:
        """The peers that are trusted now, sorted: who hears of this node's own votes (MESH-12)."""
        peers = [one.peer for one in self._view]
        return sorted(peer for peer in peers if self._view.state(peer) == "trusted" and peer != self.node)

    # --- the lane ---------------------------------------------------------------------------------------

    async def state(self) -> KnowledgeState:
        """The lane's state as it is durable."""
        found = await self._bound.state()
        state: KnowledgeState = found.parts[PART] if isinstance(found, CompositeState) else found
        return state

    async def memory(self) -> CausalMemory:
        """Causal memory as it is durable: what `MemoryRuntime` takes as `state`."""
        return (await self.state()).memory

    async def remember(self, command: MemoryCommand) -> MemoryReply:
        """Give a command to causal memory: what `MemoryRuntime` takes as `ask`."""
        # Not its decision: one decision may tell several things, and what each leads to is named after its cause.
        told = commands.Remember(at_ms=command.at_ms, cause=self.ids.uuid4(), memory=command)
        reply = await self.ask(told)
        assert reply.memory is not None
        return reply.memory

    async def ask(self, command: KnowledgeCommand) -> KnowledgeReply:
        """Give a command to the lane; its reply, once what it led to is durable and observers were told.

        Raises:
            JournalError, ActorError: As `LaneRef.ask`.
        """
        reply: KnowledgeReply = await self._bound.ask(command)
        report(self._emit, reply.told)
        if reply.more and not isinstance(command, commands.Tick):
            self._wake.set()
        return reply

    @property
    def _bound(self) -> LaneRef:
        if self._lane is None:
            raise RuntimeError("bind the runtime to its lane actors first")
        return self._lane

    def _trust_moved(self, peer: str, event: TrustEvent) -> None:
        if event.moved or event.event in {"anchored", "operator_promote", "introduced"}:
            self._changed[peer] = None
            self._wake.set()

    async def _follow_trust(self) -> None:
        while True:
            while self._changed:
                peer = next(iter(self._changed))
                await self.see_trust(peer)
                if self._view.state(peer) == (await self.state()).ledger.peer(peer).state:
                    self._changed.pop(peer, None)
            while (await self.state()).ledger.dirty:
                await self._look_on()
            self._wake = trio.Event() if self._wake.is_set() and not self._changed else self._wake
            if not self._changed:
                await self._wake.wait()

    async def _tick(self) -> None:
        while True:
            while (await self._look_on()).more:
                pass
            await trio.sleep(TICK_SECONDS)

    async def _look_on(self) -> KnowledgeReply:
        return await self.ask(commands.Tick(at_ms=self.clock.wall_ms(), cause=self.ids.uuid4()))


async def _patiently(task: Callable[[], Awaitable[None]]) -> None:
    """Run a task, and begin it anew after a moment in which the journal took nothing, or the lane was busy."""
    while True:
        try:
            return await task()
        except JournalUnavailable as error:
            if error.code in {"closed", "failed"}:
                raise
        except MailboxFullError:
            pass
        await trio.sleep(AGAIN_SECONDS)


def _require_human(human: str, reason: str) -> None:
    if not human.strip():
        raise HumanDecisionRefused("a human's decision names the human", code="name_required")
    if not reason.strip():
        raise HumanDecisionRefused("a human's decision gives a reason", code="why_required")
