"""Nodes with a ledger on a lane, real trust, and no network: what one sends is handed to the others."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from tests.actors.jobs import opened
from web4.actors import ActorOptions, open_lane_actors
from web4.foundation.clock import format_timestamp
from web4.foundation.ids import SeededIds
from web4.protocols.cip.actions import Delivery
from web4.protocols.gates import GATES
from web4.protocols.knowledge.definition import KNOWLEDGE_EVENTS
from web4.protocols.knowledge.runtime import KnowledgeRuntime
from web4.protocols.messages import cip
from web4.protocols.messages.fields import AgentSender, Party, Sign
from web4.protocols.messages.lip import SourceClaim
from web4.protocols.messages.vocabulary import type_of
from web4.testing.clocks import TrioClock
from web4.trust import Anchored, HandshakeOk, TrustOutcome, TrustRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from web4.journal.backends.memory import MemoryStore
    from web4.journal.journal import Journal
    from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
    from web4.protocols.messages.vocabulary import AgentPayload
    from web4.trust import TrustCommand, TrustState

SOURCE = SourceClaim(
    uri="https://news.example.com/a", trust_tier="high", retrieved_at="2027-01-15T08:00:00.000Z"
)


def fact(statement: str, **fields: Any) -> cip.FactPropose:
    """A fact with a complete trace."""
    given: dict[str, Any] = {
        "domain": "physics",
        "confidence": 0.9,
        "sources": ("a book",),
        "context": {},
    } | fields
    links = given.pop("links", ())
    decision_id = given.pop("decision_id", str(uuid.uuid5(uuid.NAMESPACE_DNS, statement)))
    trace = cip.DmpTrace(decision_id=decision_id, steps=("read it",), counterfactuals=(), evidence=())
    return cip.FactPropose(fact=cip.Fact(statement=statement, **given), dmp_trace=trace, causal_links=links)


def confirmation(key: str, ref: str = "r", *, decision: str = "confirm") -> Any:
    kind = cip.FactConfirm if decision == "confirm" else cip.FactReject
    return kind(
        fact_ref=key,
        decision=decision,  # type: ignore[arg-type]
        confidence=1.0,
        evidence=(cip.HumanEvidence(ref=ref),),
        notes="",
    )


def delivery(
    node: str,
    peer: str,
    payload: AgentPayload,
    msg_id: str,
    trust: TrustState,
    *,
    now: int,
    sent_ms: int | None = None,
) -> Delivery:
    """What the session of `peer` would deliver to `node`, as far as anybody looks at it."""
    kind = type_of(payload)
    more: dict[str, Any] = {} if kind.protocol == "cip" else {"source": SOURCE}
    made: Any = kind.envelope
    message = made(
        **{kind.protocol: "1.0"},
        msg_id=msg_id,
        type=kind.name,
        timestamp=format_timestamp(now if sent_ms is None else sent_ms),
        sender=AgentSender(agent_id="peer", fingerprint=peer),
        receiver=Party(agent_id="node", fingerprint=node),
        payload=payload,
        sign=Sign(algo="ed25519", signature="A" * 86 + "=="),
        **more,
    )
    return Delivery(
        peer=peer,
        trust=trust,
        admission=GATES[kind.name][trust],
        message=msgspec.convert(msgspec.to_builtins(message), made),
        digest="cd" * 32,
        size=100,
        received_ms=now,
    )


class Trust:
    """Peers' lanes, as far as this room needs them: real trust in memory, each cause heard once."""

    def __init__(self, clock: TrioClock) -> None:
        self.registry = TrustRegistry()
        self.clock = clock
        self.heard: list[tuple[str, str, str | None]] = []
        self._causes: set[tuple[str, str | None]] = set()

    async def __call__(self, peer: str, command: TrustCommand, *, cause: str | None = None) -> TrustOutcome:
        await trio.lowlevel.checkpoint()
        if (peer, cause) in self._causes:
            return TrustOutcome(self.registry.state(peer))
        self._causes.add((peer, cause))
        self.heard.append((peer, command.event, cause))
        return self.registry.handle(peer, command)

    def meet(self, *peers: str) -> None:
        for peer in peers:
            self.registry.handle(peer, HandshakeOk(at_ms=self.clock.wall_ms()))

    def anchor(self, *peers: str) -> None:
        for peer in peers:
            self.registry.handle(peer, Anchored(at_ms=self.clock.wall_ms()))


class Node:
    """A node's knowledge, and what it has sent."""

    def __init__(self, name: str, journal: Journal, limits: KnowledgeLimits | None) -> None:
        self.fingerprint = name.encode().hex().ljust(64, "0")
        self.clock = TrioClock()
        self.trust = Trust(self.clock)
        self.journal = journal
        self.sent: list[tuple[str, Any, str]] = []
        self.emitted: list[tuple[str, dict[str, Any]]] = []
        self.knowledge = KnowledgeRuntime(
            self.fingerprint,
            trust=self.trust,
            send=self._send,
            view=self.trust.registry,
            limits=limits,
            clock=self.clock,
            ids=SeededIds(name),
            emit=self._emit,
        )

    def _emit(self, kind: str, /, **fields: Any) -> None:
        self.emitted.append((kind, fields))

    async def _send(
        self,
        peer: str,
        payload: AgentPayload,
        *,
        corr_id: str | None = None,
        about: Any = None,
        msg_id: str | None = None,
    ) -> str:
        await trio.lowlevel.checkpoint()
        assert msg_id is not None
        self.sent.append((peer, payload, msg_id))
        return msg_id

    def delivery(
        self, peer: str, payload: AgentPayload, msg_id: str, *, sent_ms: int | None = None
    ) -> Delivery:
        """What the session of `peer` would deliver here now."""
        trust = self.trust.registry.state(peer)
        return delivery(
            self.fingerprint, peer, payload, msg_id, trust, now=self.clock.wall_ms(), sent_ms=sent_ms
        )

    async def hear(self, peer: str, payload: AgentPayload, msg_id: str, **fields: Any) -> Any:
        return await self.knowledge.handle(self.delivery(peer, payload, msg_id, **fields))


@asynccontextmanager
async def node(
    name: str = "node",
    *,
    store: MemoryStore | None = None,
    limits: KnowledgeLimits | None = None,
    before: Callable[[Node], None] | None = None,
) -> AsyncIterator[Node]:
    """A node whose lane runs, and whose runtime follows trust and time."""
    async with opened(store, events=KNOWLEDGE_EVENTS) as journal:
        one = Node(name, journal, limits)
        if before is not None:
            before(one)
        options = ActorOptions(stop_seconds=0.2)
        definitions: Any = {"knowledge": one.knowledge.definition}
        async with open_lane_actors(journal, definitions, options=options) as actors:
            one.knowledge.bind(actors)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.knowledge.run)
                yield one
                nursery.cancel_scope.cancel()
