"""What a peer with a sound key may try against a node over real sessions, and what the application may do wrong."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.protocols.cip.examples import ADA, BOB, EVE, FACT, TRACE
from tests.protocols.cip.nodes import Node, nodes, until
from web4.protocols.cip import Delivery, IntentAnswer, accept, defer, refuse
from web4.protocols.cip.actions import Action, Send
from web4.protocols.errors import HandshakeFailed
from web4.protocols.messages import cip as m
from web4.trust import OperatorBlock

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from web4 import rtt
    from web4.protocols.cip.link import Link


async def ask(ada: Node, topic: str = "?") -> m.Reply:
    """Let Ada ask Bob something; his answer."""
    await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic=topic)
    message = (await anext(ada.cip.inbox)).message
    assert isinstance(message, m.ReplyEnvelope)
    return message.payload


@pytest.mark.parametrize(
    "answer",
    [defer(-1), refuse("x" * 200_000), refuse("\ud800"), IntentAnswer("done", ""), None],  # type: ignore[arg-type]
    ids=["negative", "too_large", "surrogate", "no_status", "nothing"],
)
async def test_an_answer_that_cannot_be_sent_is_the_handlers_trouble(
    clock: MockClock, tmp_path: Path, answer: IntentAnswer
) -> None:
    """ROUTE-5: a peer whose topic the handler merely repeats must not be able to end the node."""

    async def troubled(_delivery: Delivery) -> IntentAnswer:
        return answer

    async with nodes(tmp_path, bob={"accept_intent": troubled}) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        for count in (1, 2):
            reply = await ask(ada)
            assert (reply.status, reply.reason) == ("refused", "handler_failed")
            assert bob.count("error") == count


async def test_what_a_blacklisted_peer_asked_is_not_taken_in_afterwards(
    clock: MockClock, tmp_path: Path
) -> None:
    """TRUST-8: blacklisted while the application still thinks about its INTENT; the yes comes too late."""
    thinking, decided = trio.Event(), trio.Event()

    async def slowly(_delivery: Delivery) -> IntentAnswer:
        thinking.set()
        with trio.CancelScope(shield=True):
            await decided.wait()
        return accept()

    async with nodes(tmp_path, bob={"accept_intent": slowly}) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic="?")
        await thinking.wait()
        bob.cip.trust.handle(ADA.fingerprint, OperatorBlock(at_ms=0, human="bob", reason="enough"))
        decided.set()
        await until(lambda: not bob.cip._links)
        assert len(bob.cip.inbox) == 0
        assert bob.count("intent_accepted") == 0


async def test_states_for_a_channel_that_is_never_opened_do_not_pile_up(
    clock: MockClock, tmp_path: Path
) -> None:
    """WEB-3: Bob wants to tell his state ever again; Ada never opens the channel; one state waits, no task does."""
    async with nodes(tmp_path) as (ada, bob), ada.endpoint.dial(bob.url, expect=BOB.fingerprint) as session:
        link = ada.cip._link(session)
        await _say(link, link.session.start())
        while not link.session.established:
            await _say(link, link.session.receive(await session.control.receive(), "control"))
        await bob.cip.connected(ADA.fingerprint)
        (of_bob,) = bob.cip._links.of(ADA.fingerprint)
        await trio.testing.wait_all_tasks_blocked()
        tasks = len(of_bob._nursery.child_tasks)
        for lri in range(50):
            bob.cip.set_state(lri=lri)
            bob.cip.tell_state()
        await trio.testing.wait_all_tasks_blocked()
        assert len(of_bob._nursery.child_tasks) == tasks
        session.abort("done")


async def _say(link: Link, actions: list[Action]) -> None:
    """Send what belongs on the control channel, and do nothing else."""
    for action in actions:
        if isinstance(action, Send) and action.channel == "control":
            await link.rtt.control.send(action.sealed.data)


async def test_what_was_received_before_the_end_is_delivered(clock: MockClock, tmp_path: Path) -> None:
    """RTT-13: the transport has acknowledged it, so nobody will say it again; the peer's good-bye does not undo it."""
    number = 200
    async with nodes(tmp_path) as (ada, bob):
        session = await ada.dial(bob)
        await ada.cip.established(session)
        for _ in range(number):
            await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        await until(lambda: ada.count("envelope_sent") >= number)
        await session.aclose()
        await until(lambda: not bob.cip._links)
        assert len(bob.cip.inbox) == number


async def test_telling_state_while_a_session_ends_is_no_mistake(clock: MockClock, tmp_path: Path) -> None:
    """Between the end of a session's tasks and that of its nursery no task may be started: it is not tried."""
    async with nodes(tmp_path) as (ada, bob):
        session = await ada.dial(bob)
        await ada.cip.established(session)
        (link,) = ada.cip._links.of(BOB.fingerprint)
        session.abort("enough")
        while ada.cip._links:
            ada.cip.tell_state()
            if link.established:
                await ada.cip.verify_again(BOB.fingerprint)
            await trio.lowlevel.checkpoint()


async def _fails_in_the_end(node: Node, session: rtt.RttSession) -> None:
    with pytest.raises(HandshakeFailed):
        await node.cip.established(session)


async def test_a_peer_keeps_one_lane_while_any_of_its_sessions_is_known(
    clock: MockClock, tmp_path: Path
) -> None:
    """REP-1: the sweep of another session must not give a peer that is about to be served a second, empty window."""
    async with (
        nodes(tmp_path) as (ada, bob),
        Node(EVE, ada.nursery, tmp_path, "eve") as eve,
        ada.endpoint.dial(bob.url, expect=BOB.fingerprint) as waiting,
    ):
        ada.nursery.start_soon(_fails_in_the_end, ada, waiting)
        await trio.testing.wait_all_tasks_blocked()
        before = ada.cip._peers[BOB.fingerprint]
        await trio.sleep(500)
        await ada.dial(eve)
        await until(lambda: bool(ada.cip.peers()))
        gc.collect()
        assert ada.cip._peers[BOB.fingerprint] is before
        waiting.abort("done")
        await ada.cip.serve(waiting)
