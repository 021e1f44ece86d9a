"""A sender chooses its ids: the id of another's message answers and ends nothing of that one (HCP-5, ROUTE-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from msgspec.structs import replace

from tests.protocols.hcp.arrange import ADA, BOB, EVE, GRACE, HAL, three
from tests.protocols.hcp.test_hcp_lane import ADD, LOGIC, NOW, action, attempt, give, other, run, uid
from tests.protocols.hcp.test_hcp_lane import HAL as HAL_OF_PEER
from web4.foundation import logic
from web4.journal.lane import Lane
from web4.protocols.hcp import Answer, SetState
from web4.protocols.hcp.lane import commands as c
from web4.protocols.hcp.lane import events as e
from web4.protocols.hcp.values import Said

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.protocols.hcp.arrange import Node, Wire

ID = "5c0f7d2e-8a43-4a1b-9c6d-0123456789ab"


async def both_ask(ada: Node, eve: Node, bob: Node, wire: Wire, state: SetState) -> None:
    """Eve first: she was told the id of Ada's message. Hal is as `state` says when they come."""
    wire.held = True
    for one, human in ((eve, "mal"), (ada, "grace")):
        await one.hcp.send_intent(human, HAL, goal="align", topic="garden/fence", msg_id=ID)
    await bob.hcp.act("hal", state, door="test")
    bob.agent.clear()
    for one in (eve, ada):
        (sent,) = one.outbox
        one.outbox = []
        await bob.receive(one.fingerprint, sent)
    wire.held = False
    await wire.settle()


async def test_hcp_each_of_two_messages_of_one_id_has_its_own_question(autojump_clock: MockClock) -> None:
    """HCP-5: a no to one peer's message is no answer to another's of the same id; each sender is told its own."""
    async with three() as (ada, eve, bob, wire):
        await both_ask(ada, eve, bob, wire, SetState(affect="anxious"))
        asked = {one.action.peer: one for one in await bob.hcp.pending("hal")}
        assert set(asked) == {ADA, EVE}
        await bob.hcp.act("hal", Answer(asked[EVE].check_in_id, yes=False), door="test")
        await bob.hcp.act("hal", Answer(asked[ADA].check_in_id, yes=True), door="test")
        await wire.settle()
        assert [(one.peer, one.message.msg_id) for one in bob.agent] == [(ADA, ID)]
        assert bob.declined == [(EVE, ID, "refused", "declined")]
        assert await bob.hcp.outcome("hal", ID, peer=EVE) == "declined"
        assert await bob.hcp.outcome("hal", ID, peer=ADA) == "ok"


async def test_hcp_two_messages_of_one_id_each_have_their_turn(autojump_clock: MockClock) -> None:
    """HCP-7: that another's message of the same id had its turn gives this one none, and takes none from it."""
    async with three() as (ada, eve, bob, wire):
        await both_ask(ada, eve, bob, wire, SetState(pressure=90))
        assert [one.peer for one in bob.agent] == [EVE]
        await trio.sleep(31)
        assert [(one.peer, one.message.msg_id) for one in bob.agent] == [(EVE, ID), (ADA, ID)]


async def test_hcp_no_peer_ends_what_is_asked_about_this_nodes_own_message(autojump_clock: MockClock) -> None:
    """HCP-5: an id that comes in is another than the same id of what this node's agent wants to say."""
    async with three() as (ada, eve, bob, wire):
        wire.held = True
        await eve.hcp.send_intent("mal", HAL, goal="align", topic="theirs", msg_id=ID)
        await bob.hcp.act("hal", SetState(affect="anxious"), door="test")
        mine = await bob.hcp.send_intent("hal", GRACE, goal="align", topic="mine", msg_id=ID)
        assert mine.status == "asked"
        wire.held = False
        await wire.settle()
        asked = {one.action.direction: one for one in await bob.hcp.pending("hal")}
        await bob.hcp.act("hal", Answer(asked["in"].check_in_id, yes=False), door="test")
        await wire.settle()
        with trio.move_on_after(1) as waited:
            await bob.hcp.outcome("hal", ID)
        assert waited.cancelled_caught  # Eve's has ended; this one has not
        await bob.hcp.act("hal", Answer(asked["out"].check_in_id, yes=True), door="test")
        await wire.settle()
        assert await bob.hcp.outcome("hal", ID) == "ok"
        assert (BOB, ID) in [(one.peer, one.message.msg_id) for one in ada.heard]


async def test_hcp_decisions_of_one_id_are_all_recorded(autojump_clock: MockClock) -> None:
    """MEM-1: a decision that another peer sent under the same id first leaves room for this one."""
    async with three() as (ada, eve, bob, wire):
        for one, human, choice in ((eve, "mal", "ash"), (ada, "grace", "oak")):
            intent = await one.hcp.send_intent(human, HAL, goal="align", topic="wood")
            await wire.settle()
            wire.held = True
            await one.hcp.send_decision(
                human,
                HAL,
                intent_ref=intent.msg_id,
                decision=choice,
                rationale="it lasts",
                alternatives=("pine",),
            )
            (sent,) = one.outbox
            wire.held, one.outbox = False, []
            message: Any = replace(sent.message, msg_id=ID)
            for _ in range(2):  # ROUTE-4: each of them once
                await bob.receive(one.fingerprint, replace(sent, message=message))
        records = await bob.journal.read(Lane("human", "hal"), limit=1_000)
        made = [bob.journal.registry.decode(one) for one in records if one.type == "decision.made"]
        assert [one.choice for one in made if one.choice in {"ash", "oak"}] == ["ash", "oak"]
        assert len({one.decision_id for one in made}) == len(made)


def test_hcp_records_from_before_ids_had_a_sender_still_count() -> None:
    """JRN-7: a journal in which what came in was named by its id alone replays, and what waits in it goes on, once."""
    old = action(1, direction="in", corr_id=None)  # as it was recorded then: the `msg_id` alone
    slow = c.State(said=Said(affect="anxious"), door="test", at=NOW, token=uid(1))
    state, _ = run(ADD, give("granted"), slow)
    lined = logic.replay(LOGIC, (e.Lined(action=old, not_before_ms=NOW),), base=state)
    again = attempt(1, direction="in", action_id=e.incoming_id(old.peer, uid(1)))
    _, replies = run(again, state=lined)
    assert replies[-1].status == "waits"
    asked = run(attempt(1, direction="in", action_id=uid(1)), state=state)[0]
    _, replies = run(again, state=asked)
    assert replies[-1].status == "asked"
    assert asked.local is not None
    (question,) = asked.local.check_ins
    others = {HAL_OF_PEER.lane_id: other()}
    answer = c.AnswerCheckIn(
        check_in_id=question.check_in_id, yes=True, door="test", others=others, at=NOW, token=uid(3)
    )
    opened, replies = run(answer, state=asked)
    assert replies[-1].status == "requested"
    _, replies = run(again, c.ConcludeAction(action_id=uid(1), outcome="ok", at=NOW), state=opened)
    assert [one.status for one in replies] == ["requested", "done"]
