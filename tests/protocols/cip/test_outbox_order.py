"""The outbox keeps its order, and loses nothing, when a message is dropped unread or comes late (OUT-2, OUT-4)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.protocols.cip.examples import BOB, CLAIM_KEY, VOTES
from tests.protocols.cip.nodes import nodes, until
from tests.protocols.cip.test_outbox import FAST, facts, outcome, taken
from web4.foundation.clock import parse_timestamp
from web4.protocols.cip.outbox.entries import Queued
from web4.protocols.cip.outbox.queue import OutboxQueue
from web4.protocols.messages import cip as m
from web4.rtt.pump import Pump

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock


async def test_what_is_dropped_by_the_rate_limit_is_not_overtaken(clock: MockClock, tmp_path: Path) -> None:
    """LIM-2, OUT-4: a peer that allows less than this node says gets everything once, in queue order."""
    slow = {"messages_per_second": 20.0, "message_burst": 20.0}
    async with nodes(tmp_path, 3_600, ada={"options": FAST}, bob={"options": slow}) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        sent = []
        for _ in range(200):
            sent += await facts(ada, BOB.fingerprint, 1)
            await trio.sleep(0.01)
        assert await taken(bob, len(sent)) == sent
        assert [await outcome(ada, BOB.fingerprint, one) for one in sent] == [("delivered", None)] * len(sent)
        assert len(bob.cip.inbox) == 0


@pytest.mark.parametrize(("number", "apart"), [(12, 15), (40, 10)])
async def test_a_long_outage_of_the_carrier_makes_nothing_too_old(
    clock: MockClock, tmp_path: Path, number: int, apart: float
) -> None:
    """OUT-2, OUT-4: what waited in a suspended session for longer than the skew goes again, with a fresh timestamp.

    Of forty so many are too late that the peer closes the session (VAL-4); the next one makes up for it.
    """
    async with nodes(tmp_path, 3_600, ada={"options": FAST}) as (ada, bob):
        session = await ada.dial(bob)
        await ada.cip.established(session)
        await ada.event("state_update")
        assert isinstance(session.pump, Pump)
        place, away = tmp_path / "bob.sock", tmp_path / "away.sock"
        place.rename(away)
        session.pump._stream.socket.shutdown(socket.SHUT_RDWR)
        sent = []
        for _ in range(number):
            sent += await facts(ada, BOB.fingerprint, 1)
            await trio.sleep(apart)
        assert session.state == "suspended"
        away.rename(place)
        await until(lambda: session.state == "closed" or len(bob.cip.inbox) == number)
        if session.state == "closed":
            await ada.cip.established(await ada.dial(bob))
        assert await taken(bob, len(sent)) == sent
        assert [await outcome(ada, BOB.fingerprint, one) for one in sent] == [("delivered", None)] * len(sent)
        assert len(bob.cip.inbox) == 0


async def test_votes_said_in_one_breath_are_in_order_for_whoever_counts_them(
    clock: MockClock, tmp_path: Path
) -> None:
    """KNOW-2, MESH-12: a doubt, its withdrawal and so on wait for a peer and go within one millisecond: each is later
    than the one before by its timestamp, so the last word stands, and not the one with the greatest random id."""
    async with nodes(tmp_path, 3_600, ada={"options": FAST}) as (ada, bob):
        doubt = m.FactChallenge(fact_ref=CLAIM_KEY, reason="cannot_verify", notes="")
        withdrawn = m.FactConfirm(
            fact_ref=CLAIM_KEY, decision="confirm", confidence=1.0, evidence=VOTES[:1], notes=""
        )
        sent = [await ada.cip.send(BOB.fingerprint, one) for one in (doubt, withdrawn) * 40]
        await ada.cip.established(await ada.dial(bob))
        heard = [await anext(bob.cip.inbox) for _ in sent]
        assert [one.msg_id for one in heard] == sent
        messages: list[Any] = [one.message for one in heard]
        times = [parse_timestamp(one.timestamp) for one in messages]
        assert times == sorted(set(times))
        assert times[-1] - times[0] < 1_000


def test_what_is_said_again_keeps_its_place() -> None:
    """OUT-4, PACE-4: after a pause everything goes in queue order, what was on its way before what never was."""
    queue = OutboxQueue()
    entries = [
        Queued(
            number=one,
            msg_id=str(one),
            type="FACT",
            channel="knowledge",
            at_ms=0,
            size=10,
            body="",
            low=one == 1,
        )
        for one in range(4)
    ]
    queue.load(reversed(entries))
    queue.fly(queue.next(2, 1_000, low=False))
    assert (list(queue.flying), list(queue.waiting)) == (["0", "2"], ["1", "3"])
    queue.again_in(100, 0)
    assert (list(queue.waiting), len(queue.flying), queue.flying_bytes) == (["0", "1", "2", "3"], 0, 0)
    assert [one.msg_id for one in queue.next(9, 1_000, low=True)] == ["0", "1", "2", "3"]
