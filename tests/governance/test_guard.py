"""The mission guard on its lane, as an agent loop uses it (DRIFT-1 to DRIFT-5)."""

from __future__ import annotations

import pytest
import trio

from tests.governance.missions import OTHER, PEER, Said, document, guarding
from web4.governance import ApprovalRefused, DriftRules, MissionGuard, MissionRefused
from web4.journal.backends.memory import Fault, MemoryStore, ScriptedFaults
from web4.journal.lane import GOVERNANCE
from web4.journal.verify import verify
from web4.protocols.decision_history import check_decisions, decisions_about


async def fall(guard: MissionGuard, count: int = 40) -> None:
    for number in range(20):
        await guard.admit(f"good-{number}", cause=PEER, topic="0.9")
    for number in range(count):
        await guard.admit(f"bad-{number}", cause=OTHER, topic="0.1")


async def test_drift_detects_shift_blocks_and_a_human_can_approve() -> None:
    """DRIFT-3, DRIFT-5: the shift blocks, contributors are named, a human lets one intent pass, all over a restart."""
    store = MemoryStore()
    async with guarding(store, scorer=Said()) as node:
        await node.guard.adopt(document(), human="grace", rules=DriftRules(baseline=0.9))
        await fall(node.guard)
        assert [fields["level"] for _, fields in node.emitted] == ["warn", "block"]
        assert {kind for kind, _ in node.emitted} == {"mission_drift"}
        worst = node.emitted[1][1]["top_contributors"][0]
        assert (worst["kind"], worst["id"]) == ("peer", OTHER.id)
        assert not (await node.guard.admit("m1", cause=PEER, topic="1.0")).allowed
    async with guarding(store, scorer=Said(), seed=2) as node:
        assert not (await node.guard.admit("m1", cause=PEER, topic="1.0")).allowed
        await node.guard.approve("m1", human="grace", reason="I asked for it")
        admission = await node.guard.admit("m1", cause=PEER, topic="1.0")
        assert (admission.allowed, admission.approved_by, admission.score) == (True, "grace", 1.0)
        assert not (await node.guard.admit("m2", cause=PEER, topic="1.0")).allowed
        with pytest.raises(ApprovalRefused, match="already_passed"):
            await node.guard.approve("m1", human="grace", reason="again")
        checked = await check_decisions(node.journal.backend, node.journal.registry, GOVERNANCE)
        assert checked.sound
        assert checked.records == 2
        (approval,) = await decisions_about(node.journal.backend, node.journal.registry, "m1")
        assert approval.record.reasons == ("I asked for it",)
        assert not (await verify(node.journal.backend, node.journal.registry)).findings


async def test_mission_drift_is_durable_before_the_block_acts() -> None:
    """DRIFT-5: what is told, and any answer that a block leads to, comes after `mission_drift` is in the journal."""
    faults = ScriptedFaults({"commit": [Fault(delay=0.001)] * 500})
    async with guarding(MemoryStore(), scorer=Said(), faults=faults) as node:
        await node.guard.adopt(document(), human="grace", rules=DriftRules(baseline=0.9))

        async def one(number: int, score: str) -> None:
            admission = await node.guard.admit(f"m{number}", cause=OTHER, topic=score)
            records = await node.journal.read(GOVERNANCE, limit=500)
            levels = [
                node.journal.registry.decode(record).level
                for record in records
                if record.type == "governance.mission_drift"
            ]
            assert admission.allowed or levels[-1] == "block"
            assert len(node.emitted) <= len(levels)

        for number in range(20):
            await one(number, "0.9")
        async with trio.open_nursery() as nursery:
            for number in range(20, 60):
                nursery.start_soon(one, number, "0.1")
        assert (await node.guard.state()).level == "block"
        assert {fields["level"] for _, fields in node.emitted} == {"warn", "block"}


async def test_drift_flip_flop_is_told() -> None:
    """DRIFT-4: a flip-flop is a `mission_drift` of a kind of its own."""
    async with guarding(MemoryStore()) as node:
        await node.guard.adopt(document(), human="grace")
        for number, choice in enumerate(("go", "stay", "go")):
            await node.guard.decided(f"d{number}", cause=PEER, topic="rain", choice=choice, words="forecast")
        ((kind, fields),) = node.emitted
        assert (kind, fields["kind"], fields["topic"]) == ("mission_drift", "flip_flop", "rain")
        records = await node.journal.read(GOVERNANCE, limit=500)
        assert [record.type for record in records][-1] == "governance.flip_flop"


async def test_mission_is_adopted_in_a_humans_name() -> None:
    """DRIFT-1, MEM-1: verified, newer, by a named human; refused, the mission stays."""
    async with guarding(MemoryStore()) as node:
        guard = node.guard
        with pytest.raises(MissionRefused, match="mission_malformed"):
            await guard.adopt(b"{}", human="grace")
        with pytest.raises(MissionRefused, match="mission_human"):
            await guard.adopt(document(), human="")
        with pytest.raises(ValueError, match="window"):
            await guard.adopt(document(), human="grace", rules=DriftRules(window=0))
        assert (await guard.adopt(document(3), human="grace")).version == 3
        with pytest.raises(MissionRefused, match="mission_outdated"):
            await guard.adopt(document(3), human="grace")
        state = await guard.state()
        assert state.mission is not None
        assert state.mission.version == 3
        record = (await node.journal.read(GOVERNANCE, limit=10))[0]
        assert record.principal == "grace"


async def test_forbidden_outcome_scores_nothing() -> None:
    """DRIFT-2: words of a context count; a forbidden outcome scores 0, whatever else is said."""
    async with guarding(MemoryStore()) as node:
        await node.guard.adopt(document(), human="grace")
        good = await node.guard.admit("m1", cause=PEER, topic="forecast", words={"what": "rain and wind"})
        bad = await node.guard.admit("m2", cause=PEER, topic="forecast rain", words=["order evacuation"])
        assert (good.score, bad.score) == (1.0, 0.0)
        records = await node.journal.read(GOVERNANCE, limit=10)
        assert node.journal.registry.decode(records[-1]).forbidden == "evacuate"


async def test_unbound_guard() -> None:
    """A guard that was not bound says so."""
    guard = MissionGuard(signers=[])
    with pytest.raises(RuntimeError, match="not bound"):
        await guard.state()
