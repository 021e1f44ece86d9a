"""The outbox between two nodes over real sessions: offline, full, refused, put off, restarted (section 18, PACE-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.protocols.cip.examples import ADA, BOB, FACT, TRACE
from tests.protocols.cip.nodes import Node, nodes, until
from web4.foundation.clock import parse_timestamp
from web4.foundation.envelope import parse, verify
from web4.journal.backends.memory import MemoryStore
from web4.protocols.cip import IntentAnswer, Offer, accept, defer
from web4.protocols.cip.outbox.bodies import attempts, timestamp
from web4.protocols.cip.outbox.entries import DAY_MS, OutboxLimits
from web4.protocols.cip.outbox.pacing import Rate, pace
from web4.protocols.cip.outbox.pump import Pump
from web4.protocols.errors import OutboxFull
from web4.protocols.messages import cip as m
from web4.trust import OperatorBlock, OperatorPromote, TrustViolationError, Unverifiable

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from web4.protocols.cip import Delivery

FAST: dict[str, Any] = {"messages_per_second": 1e6, "message_burst": 1e6}


async def facts(node: Node, to: str, number: int) -> list[str]:
    return [await node.cip.propose_fact(to, FACT, TRACE) for _ in range(number)]


async def taken(node: Node, number: int) -> list[str]:
    """Take and settle so many messages; their ids."""
    found = []
    for _ in range(number):
        delivery = await anext(node.cip.inbox)
        await node.cip.settled(delivery)
        found.append(delivery.msg_id)
    return found


async def outcome(node: Node, to: str, msg_id: str) -> tuple[str, str | None]:
    conclusion = await node.cip.concluded(to, msg_id)
    assert conclusion is not None
    return conclusion.outcome, conclusion.reason


@pytest.mark.parametrize("journal", [True, False])
async def test_outbox_peer_offline(clock: MockClock, tmp_path: Path, journal: bool) -> None:
    """OUT-1, OUT-2, OUT-4, OUT-5: a day offline, then delivered once and in order, with fresh timestamps."""
    of_ada: dict[str, Any] = {"store": MemoryStore()} if journal else {}
    async with nodes(tmp_path, 2 * 24 * 3_600, ada=of_ada) as (ada, bob):
        sent = await facts(ada, BOB.fingerprint, 20)
        assert [entry.msg_id for entry in await ada.cip.outbox(BOB.fingerprint)] == sent
        await trio.sleep(24 * 3_600)
        began = ada.cip._context.clock.wall_ms()
        await ada.cip.established(await ada.dial(bob))
        for msg_id in sent:
            delivery = await anext(bob.cip.inbox)
            await bob.cip.settled(delivery)
            assert delivery.msg_id == msg_id
            assert isinstance(delivery.message, m.FactProposeEnvelope)
            assert parse_timestamp(delivery.message.timestamp) >= began
        assert [await outcome(ada, BOB.fingerprint, one) for one in sent] == [("delivered", None)] * 20
        assert await ada.cip.outbox(BOB.fingerprint) == []
        assert ada.count("envelope_queued") == ada.count("envelope_concluded") == 20
        assert len(bob.cip.inbox) == 0


async def test_outbox_expires(clock: MockClock, tmp_path: Path) -> None:
    """OUT-5: after five days an entry is `expired`, connected or not, and whoever asked is told."""
    async with nodes(tmp_path, 6 * 24 * 3_600, ada={"store": MemoryStore()}) as (ada, bob):
        (old,) = await facts(ada, BOB.fingerprint, 1)
        await trio.sleep(4 * 24 * 3_600)
        (young,) = await facts(ada, BOB.fingerprint, 1)
        assert await outcome(ada, BOB.fingerprint, old) == ("expired", None)
        assert (
            ada.cip._context.clock.wall_ms() - (await ada.cip.outbox(BOB.fingerprint))[0].at_ms > DAY_MS / 2
        )
        await ada.cip.established(await ada.dial(bob))
        assert await taken(bob, 1) == [young]


async def test_outbox_full(clock: MockClock, tmp_path: Path) -> None:
    """OUT-6: at the bound the command is refused; nothing is dropped, and there is room again after a receipt."""
    limits = OutboxLimits(entries=5)
    async with nodes(tmp_path, ada={"store": MemoryStore(), "options": {"outbox": limits}}) as (ada, bob):
        sent = await facts(ada, BOB.fingerprint, 5)
        with pytest.raises(OutboxFull) as refused:
            await facts(ada, BOB.fingerprint, 1)
        assert (refused.value.code, refused.value.peer) == ("outbox_full", BOB.fingerprint)
        assert [entry.msg_id for entry in await ada.cip.outbox(BOB.fingerprint)] == sent
        await ada.cip.established(await ada.dial(bob))
        assert await taken(bob, 5) == sent
        await outcome(ada, BOB.fingerprint, sent[-1])
        assert await taken_after(ada, bob) == 1


async def taken_after(ada: Node, bob: Node) -> int:
    await facts(ada, BOB.fingerprint, 1)
    return len(await taken(bob, 1))


async def test_a_full_inbox_puts_off_and_keeps_the_order(clock: MockClock, tmp_path: Path) -> None:
    """OUT-4, OUT-5: what is refused with retry_after_ms goes again, everything behind it after it, each once."""
    async with nodes(tmp_path, ada={"options": FAST}, bob={"options": {**FAST, "inbox_per_peer": 3}}) as (
        ada,
        bob,
    ):
        await ada.cip.established(await ada.dial(bob))
        sent = await facts(ada, BOB.fingerprint, 40)
        await bob.event("envelope_rejected", code="busy")
        assert await taken(bob, 40) == sent
        assert len(bob.cip.inbox) == 0


async def test_a_refusal_ends_the_entry(clock: MockClock, tmp_path: Path) -> None:
    """OUT-5, OUT-7: ERROR without retry_after_ms concludes `refused(code)`; what follows goes on."""
    async with nodes(tmp_path) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        share = m.DecisionShare(
            decision=m.SharedDecision(choice="a", outcome="b", context={}), dmp_trace=TRACE, retrospective=""
        )
        refused = await ada.cip.send(BOB.fingerprint, share)
        (let_in,) = await facts(ada, BOB.fingerprint, 1)
        assert await outcome(ada, BOB.fingerprint, refused) == ("refused", "gate")
        assert await outcome(ada, BOB.fingerprint, let_in) == ("delivered", None)


async def test_what_the_peer_does_not_take_is_refused_here(clock: MockClock, tmp_path: Path) -> None:
    """OUT-7, CIP-3: queued while nobody knew, a type that was not agreed ends as `refused(capability)`."""
    async with nodes(tmp_path, bob={"options": {"offer": Offer()}}) as (ada, bob):
        (sent,) = await facts(ada, BOB.fingerprint, 1)
        await ada.cip.established(await ada.dial(bob))
        assert await outcome(ada, BOB.fingerprint, sent) == ("refused", "capability")
        with pytest.raises(TrustViolationError):
            await facts(ada, BOB.fingerprint, 1)


async def test_saying_an_id_again_queues_nothing(clock: MockClock, tmp_path: Path) -> None:
    """ROUTE-4: an id that its caller has recorded is queued once, before and after it was delivered."""
    async with nodes(tmp_path, ada={"store": MemoryStore()}) as (ada, bob):
        fact, mine = m.FactPropose(fact=FACT, dmp_trace=TRACE, causal_links=()), ada.cip._context.ids.uuid4()
        for _ in range(2):
            assert await ada.cip.send(BOB.fingerprint, fact, msg_id=mine) == mine
        assert len(await ada.cip.outbox(BOB.fingerprint)) == 1
        await ada.cip.established(await ada.dial(bob))
        assert await taken(bob, 1) == [mine]
        await outcome(ada, BOB.fingerprint, mine)
        await ada.cip.send(BOB.fingerprint, fact, msg_id=mine)
        assert await ada.cip.outbox(BOB.fingerprint) == []
        assert await ada.cip.concluded(BOB.fingerprint, ada.cip._context.ids.uuid4()) is None


async def test_a_long_message_is_a_blob_on_both_sides(clock: MockClock, tmp_path: Path) -> None:
    """JRN-2, JRN-8: bodies too long for a record; after a restart of both they are still there."""
    of = {"ada": {"store": MemoryStore()}, "bob": {"store": MemoryStore()}}
    long = m.Fact(**{**{f: getattr(FACT, f) for f in FACT.__struct_fields__}, "statement": '"' * 60_000})
    async with nodes(tmp_path, **of) as (ada, _):
        sent = await ada.cip.propose_fact(BOB.fingerprint, long, TRACE)
    (tmp_path / "2").mkdir()
    async with nodes(tmp_path / "2", **of) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        assert await outcome(ada, BOB.fingerprint, sent) == ("delivered", None)
        assert len(bob.cip.inbox) == 1
    (tmp_path / "3").mkdir()
    async with nodes(tmp_path / "3", **of) as (_, bob):
        delivery = await anext(bob.cip.inbox)
        assert delivery.msg_id == sent
        payload = delivery.message.payload
        assert isinstance(payload, m.FactPropose)
        assert payload.fact.statement == long.statement


async def test_what_was_not_settled_is_delivered_again_once(clock: MockClock, tmp_path: Path) -> None:
    """OUT-3: after a restart, in order, before anything new; what was settled is not; a repeat gets its receipt."""
    of = {"ada": {"store": MemoryStore()}, "bob": {"store": MemoryStore()}}
    async with nodes(tmp_path, **of) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        sent = await facts(ada, BOB.fingerprint, 6)
        await outcome(ada, BOB.fingerprint, sent[-1])
        first = [await anext(bob.cip.inbox) for _ in range(4)]
        await bob.cip.settled(first[0])
        await bob.cip.settled(first[2], "refused")
    left = [sent[1], *sent[3:]]
    (tmp_path / "2").mkdir()
    async with nodes(tmp_path / "2", **of) as (ada, bob):
        await until(lambda: len(bob.cip.inbox) == 4)
        await ada.cip.established(await ada.dial(bob))
        sent = await facts(ada, BOB.fingerprint, 1)
        assert await taken(bob, 5) == left + sent
    (tmp_path / "3").mkdir()
    async with nodes(tmp_path / "3", **of) as (_, bob):
        await trio.sleep(10)
        assert len(bob.cip.inbox) == 0


async def test_an_intent_is_asked_again_and_answered_once(clock: MockClock, tmp_path: Path) -> None:
    """LOOP-5: killed between taking an INTENT and answering it, the node asks again; the peer hears one answer."""
    asked: list[str] = []

    async def never(delivery: Delivery) -> IntentAnswer:
        asked.append(delivery.msg_id)
        await trio.sleep_forever()
        raise AssertionError

    async def gladly(delivery: Delivery) -> IntentAnswer:
        asked.append(delivery.msg_id)
        return accept("gladly")

    of_bob: dict[str, Any] = {"store": MemoryStore(), "options": {"intent_deadline_ms": 10**8}}
    of_ada = {"store": MemoryStore()}
    async with nodes(tmp_path, ada=of_ada, bob={**of_bob, "accept_intent": never}) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        sent = await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic="?")
        await outcome(ada, BOB.fingerprint, sent)
        await until(lambda: bool(asked))
    (tmp_path / "2").mkdir()
    async with nodes(tmp_path / "2", ada=of_ada, bob={**of_bob, "accept_intent": gladly}) as (ada, bob):
        await trio.sleep(1)
        assert len(asked) == 1, "nobody reads yet: there may be nobody to ask"
        assert (await anext(bob.cip.inbox)).msg_id == sent
        await ada.cip.established(await ada.dial(bob))
        answer = (await anext(ada.cip.inbox)).message.payload
        assert isinstance(answer, m.Reply)
        assert (answer.in_reply_to, answer.status, asked) == (sent, "accepted", [sent, sent])
    (tmp_path / "3").mkdir()
    async with nodes(tmp_path / "3", ada=of_ada, bob={**of_bob, "accept_intent": gladly}) as (ada, bob):
        delivery = await anext(bob.cip.inbox)
        assert (delivery.msg_id, len(asked)) == (sent, 2), "delivered again, and not asked about again"
        await ada.cip.established(await ada.dial(bob))
        await bob.cip.reply(delivery, "done")
        assert await until_status(ada, "done")


async def until_status(node: Node, status: str) -> bool:
    async for delivery in node.cip.inbox:
        payload = delivery.message.payload
        if isinstance(payload, m.Reply) and payload.status == status:
            return True
    return False


async def test_purging_ends_what_waits(clock: MockClock, tmp_path: Path) -> None:
    """HCP-3, TRUST-8: what a condition names, or all of a peer that is blacklisted, with its reason."""
    async with nodes(tmp_path, ada={"store": MemoryStore()}) as (ada, _bob):
        keep, drop = await facts(ada, BOB.fingerprint, 2)
        purged = await ada.cip.purge(
            BOB.fingerprint, lambda entry: entry.msg_id == drop, reason="consent_revoked"
        )
        assert purged == (drop,)
        assert await outcome(ada, BOB.fingerprint, drop) == ("purged", "consent_revoked")
        assert [entry.msg_id for entry in await ada.cip.outbox(BOB.fingerprint)] == [keep]
        promote = OperatorPromote(at_ms=1, human="ada", reason="known")
        await ada.cip.trust_command(BOB.fingerprint, promote)
        await ada.cip.trust_command(BOB.fingerprint, OperatorBlock(at_ms=2, human="ada", reason="enough"))
        assert await outcome(ada, BOB.fingerprint, keep) == ("purged", "blacklisted")
        with pytest.raises(TrustViolationError):
            await facts(ada, BOB.fingerprint, 1)


@pytest.mark.parametrize("journal", [True, False])
async def test_a_cause_counts_once(clock: MockClock, tmp_path: Path, journal: bool) -> None:
    """ROUTE-3: said again for the same cause nothing happens, over a restart, too."""
    of: dict[str, Any] = {"store": MemoryStore()} if journal else {}
    noted = Unverifiable(at_ms=5, claim_key="0" * 64, challenger="1" * 64)
    async with nodes(tmp_path, ada=of) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        await until(lambda: ada.cip.trust.state(BOB.fingerprint) == "probing")
        for _ in range(2):
            await ada.cip.trust_command(BOB.fingerprint, noted, cause="a message")
        seq = ada.cip.trust.record(BOB.fingerprint).seq
        assert ada.cip.trust.record(BOB.fingerprint).counts["unverifiable"] == 1
        await ada.cip.trust_command(BOB.fingerprint, noted, cause="another")
        assert ada.cip.trust.record(BOB.fingerprint).seq == seq + 1
    if journal:
        (tmp_path / "2").mkdir()
        async with nodes(tmp_path / "2", ada=of) as (ada, _):
            outcome_ = await ada.cip.trust_command(BOB.fingerprint, noted, cause="a message")
            assert outcome_.event is None
            assert ada.cip.trust.record(BOB.fingerprint).seq == seq + 1


async def test_an_overloaded_peer_is_left_alone(clock: MockClock, tmp_path: Path) -> None:
    """PACE-4: outbox types wait while the peer is overloaded; when it has recovered they go, or after silence."""
    async with nodes(tmp_path, ada={"options": FAST}, bob={"options": FAST}) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        await ada.event("state_update")
        bob.cip.set_state(presence="overloaded")
        bob.cip.tell_state()
        await ada.event("state_update", presence="overloaded")
        (sent,) = await facts(ada, BOB.fingerprint, 1)
        await trio.sleep(20)
        assert bob.count("envelope_received") == sum(
            fields["type"] != "FACT_PROPOSE" for kind, fields in bob.events if kind == "envelope_received"
        )
        bob.cip.set_state(presence="engaged")
        bob.cip.tell_state()
        assert await taken(bob, 1) == [sent]
        bob.cip.set_state(presence="overloaded")
        bob.cip.tell_state()
        await until(lambda: presence(ada, BOB.fingerprint) == "overloaded")
        began = trio.current_time()
        (late,) = await facts(ada, BOB.fingerprint, 1)
        assert await taken(bob, 1) == [late]
        assert 60 < trio.current_time() - began < 120, "silence for 90 s"


def presence(node: Node, of: str) -> str | None:
    state = node.cip.peer_state(of)
    return None if state is None else state.presence


def test_pace() -> None:
    """PACE-4, as a table."""

    def told(presence: Any, lri: int) -> m.StateUpdate:
        return m.StateUpdate(presence=presence, lri=lri, ltppeerstate="probing", kernel_signals=(), intent="")

    assert pace(None, 0, 0) == (0, True, False)
    assert pace(told("focused", 59), 0, 1_000) == (0, True, False)
    assert pace(told("focused", 60), 0, 1_000) == (0, False, True)
    assert pace(told("diffuse", 0), 0, 1_000) == (0, False, True)
    assert pace(told("engaged", 85), 0, 1_000) == (89_000, True, False)
    assert pace(told("overloaded", 0), 0, 1_000) == (89_000, True, False)
    assert pace(told("overloaded", 99), 0, 90_000) == (0, True, False)


@pytest.mark.parametrize(("half", "per_second"), [(False, 45), (True, 22.5)])
def test_half_rate_is_half(half: bool, per_second: float) -> None:
    """PACE-4, LIM-2: what goes over a minute to a peer that takes 50 a second, its burst apart."""
    rate, second = Rate(50, 10), 1_000_000_000
    burst = rate.take(1_000, 0, half=half)
    sent = sum(rate.take(1_000, tick * second // 10, half=half) for tick in range(1, 601))
    assert burst == per_second * 10 // 50
    assert abs(sent - 60 * per_second) <= 1


async def test_low_priority_waits_for_a_busy_peer(clock: MockClock, tmp_path: Path) -> None:
    """PACE-4: diffuse: low priority waits, the rest goes at half the rate."""

    async def later(_delivery: Delivery) -> IntentAnswer:
        return defer(1)

    async with nodes(tmp_path, bob={"accept_intent": later}) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        bob.cip.set_state(presence="diffuse")
        bob.cip.tell_state()
        await ada.event("state_update", presence="diffuse")
        low = await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic="?", priority="low")
        high = await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic="!", priority="high")
        assert await outcome(ada, BOB.fingerprint, high) == ("delivered", None)
        assert [entry.msg_id for entry in await ada.cip.outbox(BOB.fingerprint)] == [low]
        bob.cip.set_state(presence="focused")
        bob.cip.tell_state()
        assert await outcome(ada, BOB.fingerprint, low) == ("delivered", None)


async def test_a_cut_carrier_and_a_lost_session_lose_nothing(clock: MockClock, tmp_path: Path) -> None:
    """OUT-4: sessions that end anywhere in the stream: every entry arrives once, in order."""
    async with nodes(tmp_path, ada={"options": FAST}, bob={"options": {**FAST, "inbox_per_peer": 5_000}}) as (
        ada,
        bob,
    ):
        sent = await facts(ada, BOB.fingerprint, 150)
        for cut in (1, 40, 90):
            session = await ada.dial(bob)
            await ada.cip.established(session)
            await until(lambda cut=cut: len(bob.cip.inbox) >= cut)  # type: ignore[misc]
            session.abort("cut")
            await until(lambda: not ada.cip.peers() and not bob.cip.peers())
            sent += await facts(ada, BOB.fingerprint, 20)
        await ada.cip.established(await ada.dial(bob))
        assert await taken(bob, len(sent)) == sent
        assert [await outcome(ada, BOB.fingerprint, one) for one in sent] == [("delivered", None)] * len(sent)
        assert len(bob.cip.inbox) == 0


async def test_the_content_never_changes(clock: MockClock, tmp_path: Path) -> None:
    """OUT-2: each attempt has its own timestamp and signature; id and content digest stay."""
    async with nodes(tmp_path, ada={"store": MemoryStore()}) as (ada, _):
        (sent,) = await facts(ada, BOB.fingerprint, 1)
        (entry,) = await ada.cip.outbox(BOB.fingerprint)
        body = (entry.body or "").encode()
        first, second = (
            parse(attempts(ADA, [(entry, body)], [timestamp(at)], 2**17)[0].data) for at in (0, 1_000)
        )
        assert first.data != second.data
        assert first.msg_id == second.msg_id == sent
        assert first.content_digest == second.content_digest
        for one in (first, second):
            verify(one, ADA.public_key)


class Slow:
    """A session whose channel opens late."""

    def __init__(self) -> None:
        self.asked = False
        self.opens = trio.Event()
        self.said: list[str] = []
        self.up = True

    async def channel(self, _: object) -> Any:
        self.asked = True
        await self.opens.wait()
        return self

    async def send_many(self, messages: list[bytes]) -> None:
        await trio.lowlevel.checkpoint()
        assert messages
        self.said += [parse(one).msg_id or "" for one in messages]

    def allows(self, _: str) -> bool:
        return True

    def sent(self, _: object) -> None:
        pass


@pytest.mark.parametrize("gone", [slice(1, 2), slice(0, 3)])
async def test_what_is_purged_while_its_batch_waits_for_a_channel(
    clock: MockClock, tmp_path: Path, gone: slice
) -> None:
    """HCP-3: what was revoked before it was said is not said; the rest of its batch is, in order."""
    async with nodes(tmp_path, ada={"store": MemoryStore()}) as (ada, _):
        sent = await facts(ada, BOB.fingerprint, 3)
        drop, line = sent[gone], Slow()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Pump(ada.cip._context, ada.cip._peers[BOB.fingerprint], line).run)
            await until(lambda: line.asked)
            await ada.cip.purge(BOB.fingerprint, lambda entry: entry.msg_id in drop, "consent_revoked")
            line.opens.set()
            sent += await facts(ada, BOB.fingerprint, 1)
            await until(lambda: sent[-1] in line.said)
            nursery.cancel_scope.cancel()
        assert line.said == [one for one in sent if one not in drop]
