"""`CipRuntime` over real RTT sessions: TLS, sockets, Trio (WEB-6, HS-3, HS-7, LOOP-5, TRUST-8)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tests.protocols.cip.examples import ADA, BOB, EVE, EVERYTHING, FACT, TRACE
from tests.protocols.cip.nodes import Node, nodes, until
from web4 import rtt
from web4.protocols.cip import CipOptions, CipRuntime, Delivery, IntentAnswer, Offer, accept, defer, refuse
from web4.protocols.errors import HandshakeFailed, NotConnectedError
from web4.protocols.messages import cip as m
from web4.rtt.pump import Pump
from web4.trust import OperatorBlock, OperatorPromote, TrustViolationError

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

HANDSHAKE = (
    "handshake_started",
    "handshake_step",
    "handshake_completed",
    "handshake_failed",
    "trust_transition",
)


async def test_a_handshake_over_tls(clock: MockClock, tmp_path: Path) -> None:
    """Both established and probing; both know how the other is; the agreement is the same."""
    async with nodes(tmp_path) as (ada, bob):
        ada.cip.set_state(presence="focused", lri=20)
        session = await ada.dial(bob)
        agreement = await ada.cip.established(session)
        assert await bob.cip.connected(ADA.fingerprint) == agreement
        await bob.event("state_update", presence="focused")
        await ada.event("state_update", presence="engaged")
        assert (ada.cip.trust.state(BOB.fingerprint), bob.cip.trust.state(ADA.fingerprint)) == (
            "probing",
            "probing",
        )
        state = bob.cip.peer_state(ADA.fingerprint)
        assert state is not None
        assert (state.presence, state.lri, state.ltppeerstate) == ("focused", 20, "probing")
        assert (ada.cip.peers(), bob.cip.peers()) == ([BOB.fingerprint], [ADA.fingerprint])
        assert await ada.cip.established(session) == agreement, "asking again is no trouble"


async def test_intent_reply(clock: MockClock, tmp_path: Path) -> None:
    """LOOP-5: accepted at once by the application's word, done at the end, in one conversation."""

    async def gladly(delivery: Delivery) -> IntentAnswer:
        assert isinstance(delivery.message, m.IntentEnvelope)
        return accept("gladly") if delivery.message.payload.topic == "sums" else refuse("not my field")

    async with nodes(tmp_path, bob={"accept_intent": gladly}) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        asked = await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic="sums", context={"a": 2, "b": 2})
        task = await anext(bob.cip.inbox)
        assert isinstance(task.message, m.IntentEnvelope)
        assert (task.peer, task.trust, task.admission) == (ADA.fingerprint, "probing", "yes")
        await bob.cip.reply(task, "done", content={"sum": 4})
        first, last = await anext(ada.cip.inbox), await anext(ada.cip.inbox)
        assert isinstance(first.message, m.ReplyEnvelope)
        assert isinstance(last.message, m.ReplyEnvelope)
        assert (first.message.payload.status, first.message.payload.reason) == ("accepted", "gladly")
        assert (last.message.payload.status, last.message.payload.content) == ("done", {"sum": 4})
        assert first.message.payload.in_reply_to == last.message.payload.in_reply_to == asked
        assert first.message.corr_id == last.message.corr_id == task.message.corr_id

        await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic="verses")
        declined = await anext(ada.cip.inbox)
        assert isinstance(declined.message, m.ReplyEnvelope)
        assert (declined.message.payload.status, declined.message.payload.reason) == (
            "refused",
            "not my field",
        )
        assert len(bob.cip.inbox) == 0


async def test_an_overloaded_node_defers_and_recovers(clock: MockClock, tmp_path: Path) -> None:
    """CIP-4: the handler is not even asked; afterwards it is."""

    async def gladly(_delivery: Delivery) -> IntentAnswer:
        assert bob.cip.state.presence != "overloaded"
        return accept()

    async with nodes(tmp_path, bob={"accept_intent": gladly}) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        bob.cip.set_state(presence="overloaded")
        bob.cip.tell_state()
        await ada.event("state_update", presence="overloaded")
        await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic="now?")
        answer = (await anext(ada.cip.inbox)).message
        assert isinstance(answer, m.ReplyEnvelope)
        assert (answer.payload.status, answer.payload.retry_after_ms) == ("deferred", 5_000)
        bob.cip.set_state(presence="focused")
        await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic="now?", corr_id=str(answer.corr_id))
        again = (await anext(ada.cip.inbox)).message
        assert isinstance(again, m.ReplyEnvelope)
        assert (again.payload.status, again.corr_id) == ("accepted", answer.corr_id)


@pytest.mark.parametrize(
    ("trouble", "status", "reason"), [("raises", "refused", "handler_failed"), ("hangs", "deferred", "slow")]
)
async def test_a_failing_or_hanging_handler_is_its_own_trouble(
    clock: MockClock, tmp_path: Path, trouble: str, status: str, reason: str
) -> None:
    """ROUTE-5: the peer gets an answer, the session lives on."""

    async def troubled(_delivery: Delivery) -> IntentAnswer:
        if trouble == "raises":
            raise RuntimeError("a bug")
        await trio.sleep_forever()
        raise AssertionError

    async with nodes(tmp_path, bob={"accept_intent": troubled}) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        for _ in range(2):
            await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic="?")
            answer = (await anext(ada.cip.inbox)).message
            assert isinstance(answer, m.ReplyEnvelope)
            assert (answer.payload.status, answer.payload.reason) == (status, reason)
        assert bob.count("error") == (2 if trouble == "raises" else 0)


async def test_facts_are_delivered_and_a_full_inbox_says_so(clock: MockClock, tmp_path: Path) -> None:
    """FACT_PROPOSE of a probing peer enters as pending; beyond the bound it is refused as busy, and may come again."""
    async with nodes(tmp_path, bob={"options": {"inbox_per_peer": 2}}) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        sent = [await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE) for _ in range(3)]
        refusal = (await anext(ada.cip.inbox)).message
        assert isinstance(refusal, m.ErrorEnvelope)
        assert (refusal.payload.code, refusal.payload.msg_id, refusal.payload.retry_after_ms) == (
            "busy",
            sent[2],
            1_000,
        )
        taken = [await anext(bob.cip.inbox) for _ in range(2)]
        assert [delivery.message.msg_id for delivery in taken] == sent[:2]
        assert {delivery.admission for delivery in taken} == {"enters as pending"}
        assert taken[0].message.payload == m.FactPropose(fact=FACT, dmp_trace=TRACE, causal_links=())
        await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        assert (await anext(bob.cip.inbox)).peer == ADA.fingerprint


async def test_one_peers_full_inbox_is_not_anothers(clock: MockClock, tmp_path: Path) -> None:
    """LIM-1: a limit touches only whom it concerns."""
    async with (
        nodes(tmp_path, bob={"options": {"inbox_per_peer": 1}}) as (ada, bob),
        Node(EVE, ada.nursery, tmp_path, "eve") as eve,
    ):
        await ada.cip.established(await ada.dial(bob))
        await eve.cip.established(await eve.dial(bob))
        for _ in range(3):
            await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        await anext(ada.cip.inbox)
        await eve.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        peers = {(await anext(bob.cip.inbox)).peer for _ in range(2)}
        assert peers == {ADA.fingerprint, EVE.fingerprint}


async def test_room_that_was_taken_meanwhile(clock: MockClock, tmp_path: Path) -> None:
    """An INTENT that is accepted when the room for it has gone is deferred: the inbox keeps its bound."""
    asked, filled = trio.Event(), trio.Event()

    async def slowly(_delivery: Delivery) -> IntentAnswer:
        asked.set()
        await filled.wait()
        return accept()

    of_bob = {"accept_intent": slowly, "options": {"inbox_total": 1}}
    async with (
        nodes(tmp_path, bob=of_bob) as (ada, bob),
        Node(EVE, ada.nursery, tmp_path, "eve") as eve,
    ):
        await ada.cip.established(await ada.dial(bob))
        await eve.cip.established(await eve.dial(bob))
        await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic="?")
        await asked.wait()
        await eve.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        await bob.event("envelope_received", type="FACT_PROPOSE")
        filled.set()
        answer = (await anext(ada.cip.inbox)).message
        assert isinstance(answer, m.ReplyEnvelope)
        assert (answer.payload.status, answer.payload.reason) == ("deferred", "busy")
        assert len(bob.cip.inbox) == 1


async def test_hs_timeouts_over_rtt(clock: MockClock, tmp_path: Path) -> None:
    """HS-3: a dialler that says nothing is given up after the deadline; no trust event."""
    async with nodes(tmp_path) as (ada, bob):
        async with ada.dialled(bob.url, BOB) as session:
            started = trio.current_time()
            with pytest.raises(rtt.SessionClosedError):
                await session.control.receive()
            assert trio.current_time() - started == pytest.approx(5, abs=1)
        await bob.event("handshake_failed", reason="timeout")
        assert (bob.cip.trust.state(ADA.fingerprint), bob.count("trust_transition")) == ("unknown", 0)


async def test_a_silent_responder_times_out(clock: MockClock, tmp_path: Path) -> None:
    """HS-3, seen by the initiator: `established` raises with the reason."""
    async with nodes(tmp_path) as (ada, bob):
        url = f"unix://{tmp_path}/mute.sock"
        async with rtt.open_endpoint(EVE) as mute:
            await mute.listen(url, admit=lambda _peer, _address: True)
            async with ada.dialled(url, EVE) as session:
                ada.nursery.start_soon(ada.cip.serve, session)
                with pytest.raises(HandshakeFailed) as failed:
                    await ada.cip.established(session)
        assert (failed.value.code, failed.value.peer) == ("timeout", EVE.fingerprint)
        assert ada.count("trust_transition") == 0
        assert bob.events == []


async def test_hs_both_dialled(clock: MockClock, tmp_path: Path) -> None:
    """HS-7: of two sessions the one dialled by the lower fingerprint is kept, no matter who was first; no trust
    event of its own."""
    async with nodes(tmp_path) as (ada, bob):
        low, high = sorted((ada, bob), key=lambda node: node.identity.fingerprint)
        async with trio.open_nursery() as both:
            both.start_soon(dial_and_wait, low, high)
            both.start_soon(dial_and_wait, high, low)
        await only_one_is_left(low, high)

    (tmp_path / "second").mkdir()
    async with nodes(tmp_path / "second") as (ada, bob):
        low, high = sorted((ada, bob), key=lambda node: node.identity.fingerprint)
        await dial_and_wait(high, low)
        await low.cip.connected(high.identity.fingerprint)
        await dial_and_wait(low, high)
        await only_one_is_left(low, high)


async def test_hs_both_dialled_while_one_waits(clock: MockClock, tmp_path: Path) -> None:
    """HS-7: who dialled the session that gives way is told of the one that was kept."""
    async with nodes(tmp_path) as (ada, bob):
        low, high = sorted((ada, bob), key=lambda node: node.identity.fingerprint)
        low.cip.set_state(presence="overloaded")
        deferred = await high.dial(low)
        await high.event("handshake_deferred")
        agreements = []

        async def wait() -> None:
            agreements.append(await high.cip.established(deferred))

        async def connected() -> None:
            agreements.append(await high.cip.connected(low.identity.fingerprint))

        async with trio.open_nursery() as waiting:
            waiting.start_soon(wait)
            waiting.start_soon(connected)
            await dial_and_wait(low, high)
        await only_one_is_left(low, high)
        assert len(agreements) == 2
        assert deferred.state == "closed"


async def dial_and_wait(node: Node, other: Node) -> None:
    await node.cip.established(await node.dial(other))


async def only_one_is_left(low: Node, high: Node) -> None:
    await until(lambda: [len(node.cip._links) for node in (low, high)] == [1, 1])
    for node, other in ((low, high), (high, low)):
        (link,) = node.cip._links.of(other.identity.fingerprint)
        assert link.rtt.initiator == (node is low)
        assert link.established
        assert node.cip.trust.state(other.identity.fingerprint) == "probing"
    await high.cip.propose_fact(low.identity.fingerprint, FACT, TRACE)
    assert (await anext(low.cip.inbox)).peer == high.identity.fingerprint


async def test_blacklisting_closes_sessions_and_bars_admission(clock: MockClock, tmp_path: Path) -> None:
    """TRUST-8, HS-6: sessions close, what waits is dropped, and a new session is not admitted."""
    async with nodes(tmp_path) as (ada, bob):
        session = await ada.dial(bob)
        await ada.cip.established(session)
        await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        await bob.event("envelope_received", type="FACT_PROPOSE")
        assert len(bob.cip.inbox) == 1
        bob.cip.trust.handle(ADA.fingerprint, OperatorBlock(at_ms=0, human="bob", reason="enough"))
        assert len(bob.cip.inbox) == 0
        await until(lambda: not ada.cip.peers())
        waits = await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic="?")
        assert [entry.msg_id for entry in await ada.cip.outbox(BOB.fingerprint)] == [waits]
        with pytest.raises(TrustViolationError):
            await bob.cip.send_intent(ADA.fingerprint, goal="ask", topic="?")
        with pytest.raises(rtt.HandshakeError) as refused:
            await ada.dial(bob)
        assert refused.value.code == "not_admitted"
        await bob.event("handshake_failed", reason="blacklisted")
        # And in the other direction: what Bob dials himself is closed before a word.
        with pytest.raises(HandshakeFailed) as failed:
            await bob.cip.established(await bob.dial(ada))
        assert failed.value.code == "blacklisted"


async def test_handshakes_per_address_are_limited(clock: MockClock, tmp_path: Path) -> None:
    """Section 22: five a second, twenty at once."""
    async with nodes(tmp_path) as (ada, _bob):
        admitted = [ada.cip.admit("0" * 64, "2001:db8::1") for _ in range(30)]
        assert admitted == [True] * 20 + [False] * 10
        assert ada.cip.admit("0" * 64, "2001:db8::2")
        await trio.sleep(1)
        assert [ada.cip.admit("0" * 64, "2001:db8::1") for _ in range(6)] == [True] * 5 + [False]


async def test_what_the_gate_refuses_comes_back_as_an_error(clock: MockClock, tmp_path: Path) -> None:
    """TRUST-6: DECISION_SHARE is for the trusted; promoted by a named human, it passes."""
    share = m.DecisionShare(
        decision=m.SharedDecision(choice="a", outcome="b", context={}), dmp_trace=TRACE, retrospective=""
    )
    async with nodes(tmp_path) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        await ada.cip.send(BOB.fingerprint, share)
        refusal = (await anext(ada.cip.inbox)).message
        assert isinstance(refusal, m.ErrorEnvelope)
        assert refusal.payload.code == "gate"
        bob.cip.trust.handle(ADA.fingerprint, OperatorPromote(at_ms=0, human="bob", reason="we met"))
        await ada.cip.send(BOB.fingerprint, share)
        assert (await anext(bob.cip.inbox)).message.type == "DECISION_SHARE"


async def test_tampered_bytes_close_the_session_and_demote(clock: MockClock, tmp_path: Path) -> None:
    """VAL-4 over the wire: a signature that does not verify is an auth failure of the session's peer."""
    async with nodes(tmp_path) as (ada, bob):
        session = await ada.dial(bob)
        await ada.cip.established(session)
        (link,) = ada.cip._links.of(BOB.fingerprint)
        sealed, _ = link.session.send(m.Intent(goal="ask", topic="abc", priority="low", context={}))
        await (await link._channels.get("knowledge")).send(sealed.data.replace(b'"abc"', b'"abd"'))
        await bob.event("auth_failure", code="signature")
        assert bob.cip.trust.state(ADA.fingerprint) == "untrusted"
        await until(lambda: not ada.endpoint.session_count)
        refusal = (await anext(ada.cip.inbox)).message
        assert isinstance(refusal, m.ErrorEnvelope)
        assert refusal.payload.code == "signature"


async def test_verify_again_over_rtt(clock: MockClock, tmp_path: Path) -> None:
    """HS-8."""
    async with nodes(tmp_path) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        await bob.cip.connected(ADA.fingerprint)
        await ada.cip.verify_again(BOB.fingerprint)
        await until(lambda: bob.count("handshake_completed") == 2)
        assert bob.count("trust_transition") == 1
        with pytest.raises(NotConnectedError):
            await bob.cip.verify_again(ADA.fingerprint)


async def test_what_is_refused_before_it_leaves(clock: MockClock, tmp_path: Path) -> None:
    async with nodes(tmp_path) as (ada, bob):
        with pytest.raises(NotConnectedError):
            await ada.cip.send(BOB.fingerprint, m.Error(code="gate"))
        await ada.cip.established(await ada.dial(bob))
        with pytest.raises(NotConnectedError):
            await ada.cip.send(BOB.fingerprint, m.Error(code="gate"))
        with pytest.raises(msgspec.ValidationError):
            ada.cip.set_state(lri=101)
        assert ada.cip.state.lri == 0
    async with nodes(tmp_path, bob={"options": {"offer": Offer()}}) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        with pytest.raises(TrustViolationError):
            await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)


async def test_leaving_the_runtime_ends_everything(clock: MockClock, tmp_path: Path) -> None:
    """Leaving the block closes sessions and ends the inbox; serving afterwards is a mistake."""
    async with nodes(tmp_path) as (ada, bob), ada.dialled(bob.url, BOB) as session:
        options = CipOptions(agent_id="ada", offer=EVERYTHING)
        async with CipRuntime(ADA, options=options, clock=ada.cip._context.clock) as cip:
            ada.nursery.start_soon(cip.serve, session)
            await cip.established(session)
        assert [delivery async for delivery in cip.inbox] == []
        await until(lambda: not bob.endpoint.session_count)
        with pytest.raises(RuntimeError, match="block"):
            await cip.serve(session)


async def test_two_nodes_that_flood_each_other_do_not_lock_up(clock: MockClock, tmp_path: Path) -> None:
    """Readers never wait for their peer's reader: both sides ask 2 000 times at once, and all is answered."""
    number = 2_000

    async def gladly(_delivery: Delivery) -> IntentAnswer:
        return defer(1)

    options = {
        "messages_per_second": 1e6,
        "message_burst": 1e6,
        "inbox_per_peer": 10 * number,
        "inbox_total": 20 * number,
    }
    of = {"options": options, "accept_intent": gladly}
    async with nodes(tmp_path, ada=of, bob=of) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        await bob.cip.connected(ADA.fingerprint)

        async def ask(node: Node, other: Node) -> None:
            for _ in range(number):
                await node.cip.send_intent(other.identity.fingerprint, goal="ask", topic="?" * 400)

        async def read(node: Node, answers: list[str]) -> None:
            while len(answers) < number:
                message = (await anext(node.cip.inbox)).message
                assert isinstance(message, m.ReplyEnvelope | m.ErrorEnvelope)
                answers.append(message.type)

        of_ada: list[str] = []
        of_bob: list[str] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, ada, bob)
            nursery.start_soon(ask, bob, ada)
            nursery.start_soon(read, ada, of_ada)
            nursery.start_soon(read, bob, of_bob)
        assert len(of_ada) == len(of_bob) == number


async def test_a_peer_that_never_reads_control_costs_nothing(clock: MockClock, tmp_path: Path) -> None:
    """CIP-2: ERRORs that the peer does not read are dropped, and not reported as sent; the session is served on."""
    options = {
        "messages_per_second": 1e6,
        "message_burst": 1e6,
        "errors_per_second": 1_000_000,
        "faults_per_minute": 10**6,
    }
    async with (
        nodes(tmp_path, bob={"options": options}) as (ada, bob),
        ada.dialled(bob.url, BOB) as session,
    ):
        for _ in range(2_000):
            await session.control.send(b"junk")
        await until(lambda: bob.count("envelope_rejected") == 2_000)
        assert 256 <= bob.count("envelope_sent") < 2_000
        assert bob.endpoint.session_count == 1
        assert bob.count("handshake_failed") == 0
        session.abort("enough")


async def test_other_channels_are_closed(clock: MockClock, tmp_path: Path) -> None:
    """CIP-1: a channel that nobody agreed on is closed unread; the session goes on."""
    async with nodes(tmp_path) as (ada, bob):
        session = await ada.dial(bob)
        await ada.cip.established(session)
        for kind, name in (("knowledge", "web4"), ("knowledge", "relay"), ("control", "web4")):
            channel = await session.open_channel(kind, name=name)
            with pytest.raises(trio.EndOfChannel):
                await channel.receive()
        await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        assert (await anext(bob.cip.inbox)).peer == ADA.fingerprint


async def test_leaving_the_dial_ends_the_session_gracefully(clock: MockClock, tmp_path: Path) -> None:
    """RTT-13: what was said before the dialler left is still delivered."""
    async with nodes(tmp_path) as (ada, bob):
        async with ada.dialled(bob.url, BOB) as session:
            ada.nursery.start_soon(ada.cip.serve, session)
            await ada.cip.established(session)
            sent = [await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE) for _ in range(20)]
            await until(lambda: ada.count("envelope_sent") >= len(sent))
        taken = [(await anext(bob.cip.inbox)).message.msg_id for _ in range(20)]
        assert taken == sent
        await until(lambda: not bob.cip.peers() and not ada.cip.peers())
        assert bob.count("handshake_failed") == 0


async def test_a_cancelled_serve_closes_its_session(clock: MockClock, tmp_path: Path) -> None:
    async with nodes(tmp_path) as (ada, bob):
        async with ada.dialled(bob.url, BOB) as session:
            with trio.CancelScope() as serving:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ada.cip.serve, session)
                    await ada.cip.established(session)
                    serving.cancel()
            assert session.state == "closed"
        assert ada.cip.peers() == []
        await until(lambda: bob.cip.peers() == [])


async def test_silent_peers_are_let_go(clock: MockClock, tmp_path: Path) -> None:
    """What is held of a peer goes once nothing of it can be replayed any more; its trust stays."""
    async with nodes(tmp_path) as (ada, bob):
        async with ada.dialled(bob.url, BOB) as session:
            ada.nursery.start_soon(ada.cip.serve, session)
            await ada.cip.established(session)
        await until(lambda: not bob.cip.peers())
        assert ADA.fingerprint in bob.cip._peers
        await trio.sleep(300)
        async with Node(EVE, ada.nursery, tmp_path, "eve") as eve:
            await eve.cip.established(await eve.dial(bob))
        assert list(bob.cip._peers) == [EVE.fingerprint]
        assert bob.cip.trust.state(ADA.fingerprint) == "probing"


async def test_hs_survives_resume(clock: MockClock, tmp_path: Path) -> None:
    """HS-3: an established session outlives its carrier: after every cut the same agreement holds, traffic goes on
    both ways, and neither node sends a handshake message again."""

    async def gladly(delivery: Delivery) -> IntentAnswer:
        return accept()

    async with nodes(tmp_path, bob={"accept_intent": gladly}) as (ada, bob):
        session = await ada.dial(bob)
        agreement = await ada.cip.established(session)
        assert await bob.cip.connected(ADA.fingerprint) == agreement
        steps = [node.count(kind) for node in (ada, bob) for kind in HANDSHAKE]
        binding, trust = session.binding, ada.cip.trust.state(BOB.fingerprint)
        for round_ in range(1, 4):
            assert isinstance(session.pump, Pump)
            session.pump._stream.socket.shutdown(socket.SHUT_RDWR)
            # Sent while there is no carrier, or before this end has noticed.
            asked = await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic="time")
            task = await anext(bob.cip.inbox)
            await bob.cip.reply(task, "done", content={"round": round_})
            answers = [await anext(ada.cip.inbox) for _ in range(2)]
            assert [answer.message.payload.in_reply_to for answer in answers] == [asked, asked]  # type: ignore[union-attr]
            await until(lambda wanted=round_: session.reconnects == wanted)  # type: ignore[misc]
        assert session.epoch == 3
        assert session.binding == binding
        assert await ada.cip.established(session) == await bob.cip.connected(ADA.fingerprint) == agreement
        assert [node.count(kind) for node in (ada, bob) for kind in HANDSHAKE] == steps
        assert ada.cip.trust.state(BOB.fingerprint) == trust
        assert (ada.cip.peers(), bob.cip.peers()) == ([BOB.fingerprint], [ADA.fingerprint])
