"""Revocation (HCP-3): what runs is cancelled, what is queued is purged, questions end, within a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trio.testing

from tests.protocols.hcp.arrange import ADA, BOB, GRACE, HAL, Node, Wire, befriend, node, social, two
from web4.journal.backends.memory import Fault, MemoryStore, ScriptedFaults
from web4.journal.lane import Lane
from web4.observe.catalogue import KINDS
from web4.protocols.hcp import ConsentDenied, ConsentError, Contact, Grant, Limit, Revoke, SetState
from web4.protocols.hcp.acting import Revoked
from web4.protocols.hcp.lane.events import FollowUpRequested
from web4.protocols.hcp.running import Running

if TYPE_CHECKING:
    from trio.testing import MockClock


async def work_for(one: Node, who: Any, ended: list[float], *, seconds: float = 3_600.0) -> None:
    async with one.hcp.running(*who) as scope:
        await trio.sleep(seconds)
    assert scope.cancelled_caught
    ended.append(trio.current_time())


async def test_hcp_revocation_of_ones_own(autojump_clock: MockClock) -> None:
    """HCP-3: a local human revokes: work cancelled, queue purged, questions and line ended; others go on."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        await ada.hcp.add_human("lin", name="Lin", role="gardener")
        await ada.hcp.act("lin", Grant(), door="test")
        wire.held = True
        queued = await ada.hcp.send_intent("grace", HAL, goal="align", topic="garden")
        await ada.hcp.act("grace", SetState(affect="tense"), door="test")
        asked = await ada.hcp.send_intent("grace", HAL, goal="align", topic="garden")
        await ada.hcp.act("grace", SetState(affect="calm", pressure=90), door="test")
        sent = await ada.hcp.send_intent("grace", HAL, goal="align", topic="garden")
        waits = await ada.hcp.send_intent("grace", HAL, goal="align", topic="garden")
        assert [one.status for one in (queued, asked, sent, waits)] == ["sent", "asked", "sent", "waits"]
        ended: list[float] = []
        lins: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work_for, ada, ("grace",), ended)
            nursery.start_soon(work_for, ada, (HAL, "grace"), ended)
            nursery.start_soon(work_for, ada, ("lin",), lins)
            await trio.testing.wait_all_tasks_blocked()
            begun = trio.current_time()
            await ada.hcp.act("grace", Revoke(), door="dashboard")
            assert len(ended) <= 2
            await trio.testing.wait_all_tasks_blocked()
            assert ended == [begun, begun]
            await wire.settle()
            assert trio.current_time() - begun < 1
            assert lins == []
            nursery.cancel_scope.cancel()
        assert ada.purged.count("HCP_INTENT") == 2
        # What stays allowed is what tells of it (HCP-3).
        assert [one.type for one in ada.outbox] == ["HCP_STATE_UPDATE"]
        assert await ada.hcp.outcome("grace", asked.msg_id) == "consent_revoked"
        assert await ada.hcp.outcome("grace", waits.msg_id) == "consent_revoked"
        assert await ada.hcp.pending("grace") == []
        assert [one["answer"] for one in ada.said.of("check_in_answered")] == ["denied"]
        assert await social(ada, "grace", HAL) == "restricted"
        with pytest.raises(ConsentDenied) as caught:
            await ada.hcp.send_intent("grace", HAL, goal="align", topic="garden")
        assert caught.value.code == "consent_revoked"
        with pytest.raises(ConsentDenied):
            async with ada.hcp.running("grace"):
                raise AssertionError("it does not begin")
        wire.held = False
        await wire.settle()
        assert await social(bob, "hal", GRACE) == "restricted"
        await ada.hcp.act("grace", Grant(), door="test")
        await wire.settle()
        assert await social(ada, "grace", HAL) == "probing"


@pytest.mark.parametrize("stubborn", [False, True])
async def test_hcp_revocation_says_what_it_ended(autojump_clock: MockClock, stubborn: bool) -> None:
    """HCP-3: how much was cancelled, how much of it has not ended, what waited, what is not sent."""
    async with two() as (ada, bob, wire), trio.open_nursery() as nursery:
        await befriend(ada, bob, wire)
        wire.held = True
        await ada.hcp.send_intent("grace", HAL, goal="align", topic="garden")
        await ada.hcp.act("grace", SetState(affect="tense"), door="test")
        asked = await ada.hcp.send_intent("grace", HAL, goal="align", topic="garden")
        assert asked.status == "asked"
        nursery.start_soon(work_for, ada, ("grace",), [])
        if stubborn:
            nursery.start_soon(stubborn_work, ada)
        await trio.testing.wait_all_tasks_blocked()
        said = await ada.hcp.revoke("grace", door="cli")
        assert said == Revoked(
            cancelled=1 + stubborn, running=int(stubborn), waiting=1, purged=len(ada.purged)
        )
        assert ada.purged.count("HCP_INTENT") == 1
        again = await ada.hcp.revoke("grace", door="cli")
        assert again == Revoked(cancelled=int(stubborn), running=int(stubborn), waiting=0, purged=1)
        with pytest.raises(ConsentError) as caught:
            await ada.hcp.revoke("nobody", door="cli")
        assert caught.value.code == "unknown_human"
        nursery.cancel_scope.cancel()


async def stubborn_work(one: Node) -> None:
    """Work that takes its time to end."""
    async with one.hcp.running("grace"):
        with trio.CancelScope(shield=True):
            await trio.sleep(3_600)


async def test_hcp_revocation_by_the_other_agent(autojump_clock: MockClock) -> None:
    """HCP-3: HCP_STATE_UPDATE of the agent that owns the human has the same effects at the other end."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        wire.held = True
        await ada.hcp.send_intent("grace", HAL, goal="align", topic="garden")
        mine, ada.outbox = ada.outbox, []
        ended: list[float] = []
        graces: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work_for, ada, ("grace", HAL), ended)
            nursery.start_soon(work_for, ada, ("grace",), graces)
            await trio.testing.wait_all_tasks_blocked()
            await bob.hcp.act("hal", Revoke(), door="cli")
            wire.held = False
            await wire.settle()
            wire.held = True
            ada.outbox = mine + ada.outbox
            assert len(ended) == 1
            assert graces == []
            nursery.cancel_scope.cancel()
        assert await social(ada, "grace", HAL) == "restricted"
        state = await ada.hcp._context.lanes.remote(HAL)
        assert state is not None
        assert state.facts.consent == "revoked"


async def test_hcp_revocation_purges_at_the_other_end(autojump_clock: MockClock) -> None:
    """HCP-3: what is queued for a human at a peer is purged when that human's agent says `revoked`."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        other = Contact(HAL.peer, "ida")
        await bob.hcp.add_human("ida", name="Ida", role="neighbour")
        await bob.hcp.act("ida", Grant(), door="test")
        await ada.hcp.say_hello("grace", other)
        await bob.hcp.say_hello("ida", GRACE)
        await wire.settle()
        wire.held = True
        await ada.hcp.send_intent("grace", HAL, goal="align", topic="garden")
        await ada.hcp.send_intent("grace", other, goal="align", topic="garden")
        await bob.hcp.act("hal", Revoke(), door="test")
        await trio.testing.wait_all_tasks_blocked()
        (told,) = [one for one in bob.outbox if one.type == "HCP_STATE_UPDATE" and one.peer == ADA][-1:]
        begun = trio.current_time()
        await ada.receive(bob.fingerprint, told)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() - begun < 1
        assert ada.purged == ["HCP_INTENT"]
        assert [humans.message.receiver.human_id for humans in ada.outbox] == ["ida"]  # type: ignore[union-attr]


async def test_hcp_revocation_stops_before_it_is_recorded(autojump_clock: MockClock) -> None:
    """HCP-3: a slow disk holds up the record, not the stop; and until it is recorded nothing begins."""
    faults = ScriptedFaults()
    async with two(faults=faults) as (ada, bob, wire):
        await befriend(ada, bob, wire)
        slow = trio.Event()
        faults.plan("commit", Fault(until=slow))
        ended: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work_for, ada, ("grace",), ended)
            await trio.testing.wait_all_tasks_blocked()
            begun = trio.current_time()
            with trio.move_on_after(5) as impatient:
                await ada.hcp.act("grace", Revoke(), door="test")
            assert impatient.cancelled_caught
            assert ended == [begun]
            with pytest.raises(ConsentDenied) as caught:
                await ada.hcp.send_intent("grace", HAL, goal="align", topic="garden")
            assert caught.value.code == "consent_revoked"
            slow.set()
        await wire.settle()
        assert (await ada.hcp.consents())[0].consent == "revoked"


async def test_hcp_revocation_is_done_again_after_a_crash(autojump_clock: MockClock) -> None:
    """HCP-3, JRN-13: a crash between the record and the purge leaves purge and telling to the next boot, under the
    same ids."""
    store, wire = MemoryStore(), Wire()
    async with trio.open_nursery() as nursery, node(BOB, wire, store) as bob:
        await bob.hcp.add_human("hal", name="Hal", role="neighbour")
        await bob.hcp.act("hal", Grant(), door="test")
        await bob.hcp.say_hello("hal", GRACE)
        bob.purge = never  # type: ignore[method-assign]
        bob.hcp._context.purge = never
        await bob.hcp.act("hal", Revoke(), door="test")
        await trio.testing.wait_all_tasks_blocked()
        assert await bob.journal.open_work(Lane("human", "hal"))
        raise_out = nursery.cancel_scope
        raise_out.cancel()
        await trio.lowlevel.checkpoint_if_cancelled()
    async with node(BOB, wire, store) as again:
        await trio.testing.wait_all_tasks_blocked()
        assert await again.journal.open_work(Lane("human", "hal")) == []
        (told,) = [one for one in again.outbox if one.type == "HCP_STATE_UPDATE"]
        assert told.message.payload.consent == "revoked"  # type: ignore[union-attr]


async def never(*_: Any) -> tuple[str, ...]:
    await trio.sleep_forever()
    raise AssertionError("not reached")


async def test_hcp_consent_only_narrows_by_messages(autojump_clock: MockClock) -> None:
    """HCP-3, HCP-4: `state.human` of an intent may narrow consent; only HELLO and STATE_UPDATE may widen it."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        wire.held = True
        await ada.hcp.send_intent("grace", HAL, goal="align", topic="garden")
        intent = ada.outbox.pop()
        await ada.hcp.act("grace", Limit(("topic:garden",)), door="test")
        wire.held = False
        await wire.settle()
        await bob.receive(ADA, intent)  # it says `granted`, and is older
        remote = await bob.hcp._context.lanes.remote(GRACE)
        assert remote is not None
        assert remote.facts.consent == "limited"


async def test_hcp_state_leaves_only_to_holders_of_consent(autojump_clock: MockClock) -> None:
    """HCP-11: who holds no consent hears nothing of affect, pressure and clarity; events never do."""
    async with two() as (ada, bob, wire):
        await ada.hcp.act("grace", SetState(affect="tense", pressure=77, clarity=33), door="test")
        await ada.hcp.act("grace", Grant(), door="test")
        await bob.hcp.act("hal", Grant(), door="test")
        await ada.hcp.say_hello("grace", HAL)
        await wire.settle()
        await bob.hcp.say_hello("hal", GRACE)
        await wire.settle()
        await ada.hcp.act("grace", SetState(pressure=78), door="test")
        await wire.settle()
        await ada.hcp.act("grace", Revoke(), door="test")
        await wire.settle()
        told = [one.message.state.human for one in bob.heard]  # type: ignore[union-attr]
        assert [(one.affect, one.pressure, one.clarity) for one in told] == [
            ("neutral", 0, 100),
            ("tense", 78, 33),
            ("neutral", 0, 100),
        ]
        for one in (ada, bob):
            for word in ("tense", "affect", "pressure", "clarity", "uneasy", "pressed"):
                assert word not in repr(one.said.events)
            for kind, fields in one.said.events:
                known = set(KINDS[kind].fields) | {
                    "lane",
                    "peer",
                    "protocol",
                    "msg_id",
                    "corr_id",
                    "state",
                    "severity",
                }
                assert set(fields) <= known, kind  # OBS-1: what is not declared would not be shown


async def test_running_is_by_human() -> None:
    """HCP-3: each scope ends with any of its humans, and with no other; what left is not held."""
    running = Running()
    with running.entered(("a", "b")) as both, running.entered(("b",)) as only:
        assert running.count("b") == 2
        assert running.stop("a") == 1
        assert (both.cancel_called, only.cancel_called) == (True, False)
        running.barred.add("c")
        with running.entered(("c",)) as late:
            await trio.sleep_forever()
        assert late.cancelled_caught
    assert running.count("a") == running.count("b") == running.count("c") == 0


async def test_hcp_revocation_done_twice_still_tells(autojump_clock: MockClock) -> None:
    """HCP-3: done again after a crash, the purge leaves what was told the first time: nobody would be told again."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        wire.held = True
        await ada.hcp.send_intent("grace", HAL, goal="align", topic="garden")
        await ada.hcp.act("grace", Revoke(), door="test")
        await trio.testing.wait_all_tasks_blocked()
        told = list(ada.outbox)
        assert [one.type for one in told] == ["HCP_STATE_UPDATE"]
        (request,) = [
            msgspec.json.decode(one.payload or b"", type=FollowUpRequested)
            for one in (await ada.journal.read(Lane("human", "grace"), limit=1_000))[-6:]
            if one.type == "human.follow_up_requested"
        ]
        await ada.hcp.definition.performer.follow_up(request)
        assert ada.outbox == told
