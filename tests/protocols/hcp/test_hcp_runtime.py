"""`HcpRuntime` over its lanes: two nodes, two humans, a wire between them (section 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.protocols.hcp.arrange import ADA, BOB, GRACE, HAL, Node, befriend, node, social, two
from web4.journal.backends.memory import MemoryStore
from web4.protocols.errors import PayloadSchemaError
from web4.protocols.hcp import (
    Answer,
    ConsentDenied,
    ConsentError,
    Contact,
    Grant,
    Limit,
    PacingDeferred,
    Regrant,
    Restrict,
    Revoke,
    SetState,
)
from web4.protocols.messages.hcp import (
    HcpFeedback,
    HcpHello,
    HcpIntent,
    HumanIdentity,
    HumanParties,
    HumanState,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

DECISION: dict[str, Any] = {"decision": "oak", "rationale": "it lasts", "alternatives": ("pine",)}


async def ask(one: Node, topic: str = "garden/fence", **more: Any) -> Any:
    return await one.hcp.send_intent("grace", HAL, goal="align", topic=topic, **more)


async def test_hcp_intent_reaches_the_other_agent(autojump_clock: MockClock) -> None:
    """HCP-1, HCP-9: with trust, acquaintance and consent of both an intent passes both gates."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        sent = await ask(ada)
        assert (sent.status, sent.verdict.result) == ("sent", "ALLOW")
        await wire.settle()
        (delivery,) = bob.agent
        assert delivery.message.msg_id == sent.msg_id
        (told,) = [one for one in bob.said.of("gate_result") if one["type"] == "HCP_INTENT"]
        assert (told["result"], told["type"]) == ("ALLOW", "HCP_INTENT")


async def test_hcp_nothing_without_consent(autojump_clock: MockClock) -> None:
    """HCP-4, HCP-9: a new human has given no consent; and an agent cannot give it: an act names its door."""
    async with two() as (ada, bob, wire):
        await ada.hcp.say_hello("grace", HAL)
        await bob.hcp.say_hello("hal", GRACE)
        await wire.settle()
        for act in (Grant(), Limit(("topic:a",)), Regrant(HAL), Answer("x", yes=True)):
            with pytest.raises(ConsentError) as caught:
                await ada.hcp.act("grace", act, door="")
            assert caught.value.code == "door_required"
        with pytest.raises(ConsentDenied) as denied:
            await ask(ada)
        # Neither has: the one who has not is named by the first reason.
        assert denied.value.code in {"no_consent", "consent_revoked"}
        await ada.hcp.act("grace", Grant(), door="cli")
        with pytest.raises(ConsentDenied):  # Hal's agent says that he has given none
            await ask(ada)
        await wire.settle()
        assert "HCP_INTENT" not in {one.message.type for one in bob.heard}
        assert "decision.made" in await ada.records("grace")


async def test_hcp_limited_scope(autojump_clock: MockClock) -> None:
    """HCP-2: what is outside of either human's scope is refused at either end; `intent_ref` has the intent's topic."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        wide = await ask(ada, "work")
        await wire.settle()
        await bob.hcp.act("hal", Limit(("topic:garden",)), door="test")
        await wire.settle()
        inside = await ask(ada, "garden/fence")
        with pytest.raises(ConsentDenied) as caught:
            await ask(ada, "work")
        assert caught.value.code == "out_of_scope"
        await ada.hcp.send_context("grace", HAL, intent_ref=inside.msg_id, context={"height": 2})
        with pytest.raises(ConsentDenied):
            await ada.hcp.send_context("grace", HAL, intent_ref=wide.msg_id, context={})
        await wire.settle()
        assert [one.message.type for one in bob.agent] == ["HCP_INTENT", "HCP_INTENT", "HCP_CONTEXT"]


async def test_hcp_a_receiver_trusts_no_sender_to_have_asked(autojump_clock: MockClock) -> None:
    """VAL-1 step 12: what arrives is asked about at this end as well, and refused with its code."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        wire.held = True
        sent = await ask(ada, "work")
        await bob.hcp.act("hal", Limit(("topic:garden",)), door="test")
        wire.held = False
        await wire.settle()
        result = bob.results[sent.msg_id]
        assert result is not None
        assert (result.status, result.error and result.error.code) == ("refused", "out_of_scope")
        assert bob.agent == []


async def test_hcp_checkin(autojump_clock: MockClock) -> None:
    """HCP-5: blocks until answered; a yes lets it pass, a no ends it; without an answer it defers."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        await ada.hcp.act("grace", SetState(affect="tense"), door="test")
        endings = {}
        for answer in (True, False, None):
            await ada.hcp.act("grace", Grant(), door="test")
            await bob.hcp.act("hal", Grant(), door="test")
            await wire.settle()
            sent = await ask(ada)
            assert sent.status == "asked"
            (question,) = await ada.hcp.pending("grace")
            assert question.asked_by == "agent"
            assert question.reasons == ("uneasy:local",)
            assert "garden/fence" in question.question
            if answer is not None:
                await trio.sleep(500)
                assert sent.msg_id not in ada.sent
                await ada.hcp.act("grace", Answer(question.check_in_id, yes=answer), door="dashboard")
            with trio.fail_after(700):
                endings[answer] = await ada.hcp.outcome("grace", sent.msg_id)
            await wire.settle()
            assert (sent.msg_id in bob.results) == (answer is True)
        assert endings == {True: "ok", False: "declined", None: "no_answer"}
        with pytest.raises(ConsentError) as caught:
            await ada.hcp.act("grace", Answer(question.check_in_id, yes=True), door="dashboard")
        assert caught.value.code == "unknown_check_in"
        told = ada.said.of("check_in_answered")
        assert [one["answer"] for one in told] == ["yes", "denied", "no_answer"]


async def test_hcp_checkin_of_what_came_in(autojump_clock: MockClock) -> None:
    """HCP-5: an anxious human is asked before the agent acts on a message to her; then it is handed on, once."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        wire.held = True
        sent = await ask(ada)
        await bob.hcp.act("hal", SetState(affect="anxious"), door="test")
        held = ada.outbox[0]
        wire.held = False
        await wire.settle()
        assert bob.agent == []
        result = bob.results[sent.msg_id]
        assert result is not None
        assert (result.status, result.error) == ("deferred", None)
        await bob.receive(ADA, held)  # ROUTE-4: after a crash it comes again
        (question,) = await bob.hcp.pending("hal")
        await bob.hcp.act("hal", Answer(question.check_in_id, yes=True), door="test")
        await wire.settle()
        (delivery,) = bob.agent
        assert delivery.message.msg_id == sent.msg_id
        assert delivery.peer == ADA
        await bob.receive(ADA, held)
        await wire.settle()
        assert len(bob.agent) == 1


async def test_hcp_checkin_declined_tells_the_sender(autojump_clock: MockClock) -> None:
    """HCP-5, LOOP-5: a no, or no answer, is told to the peer's agent, once; not why, and not of what passes."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        wire.held = True
        sent = [(await ask(ada)).msg_id for _ in range(3)]
        await bob.hcp.act("hal", SetState(affect="anxious"), door="test")
        wire.held = False
        await wire.settle()
        for msg_id, yes in zip(sent, (True, False), strict=False):
            (asked,) = [one for one in await bob.hcp.pending("hal") if one.action.msg_id == msg_id]
            await bob.hcp.act("hal", Answer(asked.check_in_id, yes=yes), door="test")
        await trio.sleep(601)
        await wire.settle()
        assert bob.declined == [
            (ADA, sent[1], "refused", "declined"),
            (ADA, sent[2], "deferred", "no_answer"),
        ]


async def test_hcp_checkin_survives_a_restart(autojump_clock: MockClock) -> None:
    """HCP-5: the question waits on the lane; answered after a restart, what waited passes; its time runs on."""
    store = MemoryStore()
    async with two(store) as (ada, bob, wire):
        await befriend(ada, bob, wire)
        wire.held = True
        first, second = await ask(ada), await ask(ada)
        await bob.hcp.act("hal", SetState(affect="anxious"), door="test")
        wire.held = False
        await wire.settle()
        assert [one.action.msg_id for one in await bob.hcp.pending("hal")] == [first.msg_id, second.msg_id]
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.cancel()
    wire = type(wire)()
    async with node(BOB, wire, store) as again:
        questions = await again.hcp.pending("hal")
        assert len(questions) == 2
        await again.hcp.act("hal", Answer(questions[0].check_in_id, yes=True), door="test")
        await trio.testing.wait_all_tasks_blocked()
        assert [one.message.msg_id for one in again.agent] == [first.msg_id]
        await trio.sleep(601)
        assert await again.hcp.outcome("hal", second.msg_id, peer=ADA) == "no_answer"
        assert await again.hcp.pending("hal") == []


async def test_hcp_doors_follow_questions(autojump_clock: MockClock) -> None:
    """HCP-5: a door sees the questions that wait, then each new one, once."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        await ada.hcp.act("grace", SetState(affect="tense"), door="test")
        seen: list[str] = []

        async def door() -> None:
            async for question in ada.hcp.check_ins("grace"):
                seen.append(question.action.msg_id)

        first = await ask(ada)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door)
            await trio.testing.wait_all_tasks_blocked()
            second = await ask(ada)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert seen == [first.msg_id, second.msg_id]


async def test_hcp_decision_complete(autojump_clock: MockClock) -> None:
    """HCP-6: empty rationale or no alternatives refused, before anything is recorded."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire, trusted=True)
        intent = await ask(ada)
        before = await ada.records("grace")
        for broken in (
            {"rationale": ""},
            {"rationale": " \n"},
            {"alternatives": ()},
            {"alternatives": ("",)},
        ):
            with pytest.raises(PayloadSchemaError):
                await ada.hcp.send_decision("grace", HAL, intent_ref=intent.msg_id, **(DECISION | broken))
        assert await ada.records("grace") == before
        await ada.hcp.send_decision("grace", HAL, intent_ref=intent.msg_id, **DECISION)
        await wire.settle()
        assert (await bob.records("hal")).count("decision.made") >= 1


async def test_hcp_goal_decide_is_the_humans(autojump_clock: MockClock) -> None:
    """HCP-10: a decision on an intent to decide, or on one nobody knows, is a proposal until its human confirms."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire, trusted=True)
        intent = await ada.hcp.send_intent("grace", HAL, goal="decide", topic="garden/fence")
        await wire.settle()
        mine = await ada.hcp.send_decision("grace", HAL, intent_ref=intent.msg_id, **DECISION)
        theirs = await bob.hcp.send_decision("hal", GRACE, intent_ref=intent.msg_id, **DECISION)
        odd = await ada.hcp.send_decision("grace", HAL, intent_ref=ada.hcp._context.ids.uuid4(), **DECISION)
        assert {mine.status, theirs.status, odd.status} == {"asked"}
        question = (await ada.hcp.pending("grace"))[0]
        assert "proposes" in question.question
        await ada.hcp.act("grace", Answer(question.check_in_id, yes=True), door="test")
        assert await ada.hcp.outcome("grace", mine.msg_id) == "ok"


async def test_hcp_slow_pacing(autojump_clock: MockClock) -> None:
    """HCP-7: one per 30 s in order, burst 1; the rest waits."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        await bob.hcp.act("hal", SetState(pressure=85), door="test")
        await wire.settle()
        start = trio.current_time()
        sent = [await ask(ada, f"garden/{number}") for number in range(4)]
        assert [one.status for one in sent] == ["sent", "waits", "waits", "waits"]
        arrived = []
        for one in sent[1:]:
            with trio.fail_after(100):
                assert await ada.hcp.outcome("grace", one.msg_id) == "ok"
            arrived.append(trio.current_time() - start)
        assert arrived == pytest.approx([30, 60, 90], abs=1)
        await trio.sleep(100)
        await wire.settle()
        assert [one.message.msg_id for one in bob.agent] == [one.msg_id for one in sent]
        told = [one["state"] for one in bob.said.of("gate_result") if one["type"] == "HCP_INTENT"]
        assert told == ["SLOW"] * 4


async def test_hcp_slow_pacing_is_per_human(autojump_clock: MockClock) -> None:
    """HCP-7: two here who write to the same pressed human share her pace; others are not slowed."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        await ada.hcp.add_human("lin", name="Lin", role="gardener")
        await ada.hcp.act("lin", Grant(), door="test")
        await ada.hcp.say_hello("lin", HAL)
        await bob.hcp.say_hello("hal", Contact(ADA, "lin"))
        await bob.hcp.act("hal", SetState(pressure=85), door="test")
        await wire.settle()
        assert (await ask(ada)).status == "sent"
        other = await ada.hcp.send_intent("lin", HAL, goal="align", topic="garden")
        assert other.status == "waits"


async def test_hcp_slow_pacing_ends_with_its_reason(autojump_clock: MockClock) -> None:
    """HCP-7: when the pressure is over, what waits passes at once, in order; what waits is bounded."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        await ada.hcp.act("grace", SetState(clarity=10), door="test")
        sent = [await ask(ada, f"garden/{number}") for number in range(65)]
        with pytest.raises(PacingDeferred) as caught:
            await ask(ada)
        assert caught.value.code == "line_full"
        await ada.hcp.act("grace", SetState(clarity=90), door="test")
        with trio.fail_after(20):
            assert await ada.hcp.outcome("grace", sent[-1].msg_id) == "ok"
        await wire.settle()
        assert [one.message.msg_id for one in bob.agent] == [one.msg_id for one in sent]


async def test_hcp_stale_state(autojump_clock: MockClock) -> None:
    """HCP-2: old granted state counts as limited, until the human says it again."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        await trio.sleep(601)
        with pytest.raises(ConsentDenied) as caught:
            await ask(ada)
        assert caught.value.code == "out_of_scope"
        await ada.hcp.act("grace", Grant(), door="test")
        with pytest.raises(ConsentDenied):  # of Hal nothing was heard for as long
            await ask(ada)
        await bob.hcp.act("hal", SetState(), door="test")
        await wire.settle()
        assert (await ask(ada)).status == "sent"


async def test_hcp_restricted_exit(autojump_clock: MockClock) -> None:
    """HCP-4, HCP-8: no message or agent act, only the human's, leads out of restricted."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire, trusted=True)
        await bob.hcp.act("hal", Revoke(), door="test")
        await wire.settle()
        assert await social(ada, "grace", HAL) == "restricted"
        await bob.hcp.act("hal", Grant(), door="test")
        await wire.settle()
        assert await social(bob, "hal", GRACE) == "probing"  # his own word, at his own node
        await bob.hcp.say_hello("hal", GRACE)
        await ada.hcp.say_hello("grace", HAL)
        for one, human, contact in ((ada, "grace", HAL), (bob, "hal", GRACE)):
            await one.hcp.send_feedback(
                human,
                contact,
                intent_ref="00000000-0000-4000-8000-000000000000",
                feedback="fine",
                satisfaction=100,
                door="test",
            )
        await wire.settle()
        assert await social(ada, "grace", HAL) == "restricted"
        with pytest.raises(ConsentDenied) as caught:
            await ask(ada)
        assert caught.value.code == "social_trust"
        await ada.hcp.act("grace", Grant(), door="test")  # about her own consent, which she never took back
        assert await social(ada, "grace", HAL) == "restricted"
        await ada.hcp.act("grace", Regrant(HAL), door="test")
        assert await social(ada, "grace", HAL) == "probing"
        assert (await ask(ada)).status == "sent"
        await ada.hcp.act("grace", Restrict(HAL), door="test")
        with pytest.raises(ConsentDenied):
            await ask(ada)


async def test_hcp_social_table(autojump_clock: MockClock) -> None:
    """HCP-8: from strangers to trusted by messages of both, and back by misunderstandings."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        assert await social(ada, "grace", HAL) == "probing"
        intent = await ask(ada)
        with pytest.raises(ConsentDenied) as caught:
            await ada.hcp.send_decision("grace", HAL, intent_ref=intent.msg_id, **DECISION)
        assert caught.value.code == "social_trust"
        for one, human, contact in ((ada, "grace", HAL), (bob, "hal", GRACE)):
            await one.hcp.send_feedback(
                human, contact, intent_ref=intent.msg_id, feedback="", satisfaction=70, door="test"
            )
        await wire.settle()
        assert await social(ada, "grace", HAL) == await social(bob, "hal", GRACE) == "trusted"
        await ada.hcp.send_decision("grace", HAL, intent_ref=intent.msg_id, **DECISION)
        for _ in range(2):
            await bob.hcp.send_feedback(
                "hal", GRACE, intent_ref=intent.msg_id, feedback="no", satisfaction=10, door="test"
            )
        await wire.settle()
        assert await social(ada, "grace", HAL) == await social(bob, "hal", GRACE) == "probing"


async def test_hcp_feedback_is_the_humans(autojump_clock: MockClock) -> None:
    """HCP-10: how satisfied somebody is comes through a door."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        with pytest.raises(ConsentError) as caught:
            await ada.hcp.send_feedback(
                "grace",
                HAL,
                intent_ref="00000000-0000-4000-8000-000000000000",
                feedback="",
                satisfaction=90,
                door="",
            )
        assert caught.value.code == "door_required"


async def test_hcp_outputs_of_others_pass_the_gate(autojump_clock: MockClock) -> None:
    """HCP-9: what a router's handlers want to say for a human is sent by `send`, and asked about like all else."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        state = HumanState(
            presence="engaged", affect="calm", clarity=1, pressure=99, intent="", consent="granted"
        )
        about = HumanParties(sender="grace", receiver="hal", state=state)
        intent = HcpIntent(goal="align", topic="garden", priority="low")
        msg_id = await ada.hcp.send(BOB, intent, about=about)
        await wire.settle()
        (delivery,) = bob.agent
        assert delivery.message.msg_id == msg_id
        assert delivery.message.state.human.pressure == 0  # type: ignore[union-attr]  # as her lane says
        await ada.hcp.act("grace", Limit(()), door="test")
        with pytest.raises(ConsentDenied):
            await ada.hcp.send(BOB, intent, about=about)
        feedback = HcpFeedback(intent_ref=msg_id, feedback="", corrections=(), satisfaction=90)
        with pytest.raises(ConsentError) as caught:
            await ada.hcp.send(BOB, feedback, about=about)
        assert caught.value.code == "door_required"


async def test_hcp_scope_for_those_who_cannot_wait(autojump_clock: MockClock) -> None:
    """HCP-3: a scope ends with consent, and at once where there is none."""
    async with two() as (ada, bob, wire):
        with ada.hcp.scope("grace") as never:
            await trio.sleep_forever()
        assert never.cancelled_caught
        await befriend(ada, bob, wire)
        with ada.hcp.scope("grace", HAL) as scope:
            await bob.hcp.act("hal", Revoke(), door="test")
            with trio.fail_after(1):
                await trio.sleep_forever()
        assert scope.cancelled_caught


async def test_hcp_gate_shows_its_reasons(autojump_clock: MockClock) -> None:
    """HCP-10: every result comes with its reasons; looking at it records nothing."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        await ada.hcp.act("grace", SetState(presence="overloaded"), door="test")
        before = await ada.records("grace")
        verdict = await ada.hcp.gate("grace", HAL, topic="garden")
        assert verdict.result == "DEFER"
        assert [(one.code, one.whose) for one in verdict.reasons] == [("overloaded", "local")]
        assert await ada.records("grace") == before
        with pytest.raises(PacingDeferred) as caught:
            await ask(ada)
        assert caught.value.retry_after_ms == 60_000


async def test_hcp_strangers_names_are_bounded(autojump_clock: MockClock) -> None:
    """LIM-1: names cost a peer nothing, so no more than 64 of its humans are taken in."""
    async with two() as (ada, _, wire):
        for number in range(70):
            hello = HcpHello(identity=HumanIdentity(name="", role=""), consent_scope=(), safety_flags=())
            state = HumanState(
                presence="engaged", affect="calm", clarity=1, pressure=1, intent="", consent="granted"
            )
            await wire.nodes[BOB].send(
                ADA,
                hello,
                about=HumanParties(sender=f"h{number}", receiver="grace", state=state),
                msg_id=f"00000000-0000-4000-8000-{number:012d}",
            )
        await wire.settle()
        assert len(await ada.hcp.people()) == 64
        (refused, *_) = [one for one in ada.results.values() if one and one.error]
        assert refused.error is not None
        assert refused.error.code == "too_many_humans"
