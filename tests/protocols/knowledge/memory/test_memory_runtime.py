"""Causal memory on a lane, over restarts, and a peer's experience as it comes (MEM-1 to MEM-3, ROUTE)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.protocols.knowledge.memory.remembering import node
from tests.protocols.router.hosts import ADA, Host, delivery
from web4.foundation.digest import canonical
from web4.journal.backends.memory import MemoryStore
from web4.journal.lane import KNOWLEDGE
from web4.journal.verify import verify
from web4.protocols.knowledge.memory import CycleRefused, MemoryRefused, stored_memory
from web4.protocols.messages.cip import DecisionShare, DmpTrace, SharedDecision
from web4.protocols.router import ProtocolRouter
from web4.testing.clocks import START_MS
from web4.trust import OperatorBlock

if TYPE_CHECKING:
    from web4.protocols.cip import Delivery

THEIRS = f"{7:08}-0000-4000-8000-000000000000"
MESSAGE = f"{1:08}-0000-4000-8000-000000000000"


def share(msg_id: str = MESSAGE, choice: str = "retry", outcome: str = "worked") -> Delivery:
    """A DECISION_SHARE of ada's, sealed, signed and validated."""
    trace = DmpTrace(decision_id=THEIRS, steps=("thought",), counterfactuals=(), evidence=())
    decision = SharedDecision(choice=choice, outcome=outcome, context={"load": "low"})
    payload = DecisionShare(decision=decision, dmp_trace=trace, retrospective="fine")
    return delivery(payload, peer=ADA, msg_id=msg_id)


async def test_memory_survives_a_restart() -> None:
    """MEM-2, WEB-2: what was told is there again, byte for byte, and the chain holds."""
    store = MemoryStore()
    async with node(store) as (_, actors, memory):
        record = await memory.record("fetch", outputs={"status": 200}, success=True, causes=["plan"])
        await memory.link("plan", "fetch", weight=0.5)
        await memory.handle(share())
        before = await actors.lane(KNOWLEDGE).state()
    async with node(store) as (journal, actors, memory):
        after = await actors.lane(KNOWLEDGE).state()
        assert canonical(stored_memory(after)) == canonical(stored_memory(before))
        assert (await memory.asking()).upstream(record) == ("plan",)
        report = await verify(journal.backend, journal.registry)
        assert not report.findings


async def test_share_is_stored_once_with_its_origin() -> None:
    """MEM-3, ROUTE: delivered again after a crash, it is stored once; its origin is who proved to be there."""
    async with node(MemoryStore()) as (_, actors, memory):
        await memory.handle(share())
        await memory.handle(share())
        state = await actors.lane(KNOWLEDGE).state()
        (kept,) = state.foreign[ADA].values()
        assert (kept.origin, kept.choice, kept.outcome, kept.decision_id) == (
            ADA,
            "retry",
            "worked",
            THEIRS,
        )
        (way,) = (await memory.asking()).forecast("retry")
        assert way.strength == 0.5


async def test_what_is_refused_is_an_error() -> None:
    """MEM-2, MEM-4, ERR-1: refusals have codes, and change nothing."""
    async with node(MemoryStore()) as (_, actors, memory):
        await memory.link("a", "b")
        before = await actors.lane(KNOWLEDGE).state()
        with pytest.raises(CycleRefused, match="cycle"):
            await memory.link("b", "a")
        with pytest.raises(MemoryRefused, match="unknown_reference"):
            await memory.contradict("nobody", "a")
        with pytest.raises(MemoryRefused, match="too_large"):
            await memory.link("a" * 300, "b")
        with pytest.raises(ValueError, match="between 0 and 1"):
            await memory.link("a", "b", weight=2)
        with pytest.raises(TypeError, match="no DECISION_SHARE"):
            await memory.handle(delivery())
        assert await actors.lane(KNOWLEDGE).state() == before


async def test_record_is_told_twice_and_kept_once() -> None:
    """MEM-2: who may have to say a record again after a crash gives it its id."""
    async with node(MemoryStore()) as (_, actors, memory):
        for _ in range(2):
            assert await memory.record("fetch", record_id="r1", causes=["plan"]) == "r1"
        state = await actors.lane(KNOWLEDGE).state()
        assert len(state.experiences) == 1
        edge = state.graph.edge("plan", "r1")
        assert edge is not None
        assert edge.count == 1


async def test_router_brings_shares() -> None:
    """MEM-3, ROUTE-1: over a real router, of a trusted peer with the capability; of another, nothing is stored."""
    async with node(MemoryStore()) as (_, actors, memory):
        host = Host().trusts(ADA)
        router = ProtocolRouter(host, emit=host.emit)
        memory.register(router)
        assert (await router.route(share())).status == "handled"
        assert (await router.route(share())).status == "duplicate"
        host.trust.handle(ADA, OperatorBlock(at_ms=START_MS, human="grace", reason="spam"))
        other = f"{2:08}-0000-4000-8000-000000000000"
        assert (await router.route(share(other))).status == "refused"
        state = await actors.lane(KNOWLEDGE).state()
        assert list(state.foreign[ADA]) == [MESSAGE]
