"""The mailbox: three bounded queues, one wake-up, telemetry that has no queue (ACT-4)."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from tests.seeds import a_seed
from web4.actors import Mailbox, MailboxFullError
from web4.foundation.errors import Web4Error


def test_queues_are_bounded_and_evict_nothing() -> None:
    """ACT-4b: a full queue refuses at once, typed, counted; the others still take; nothing accepted is lost."""
    mailbox: Mailbox[str] = Mailbox(control=2, work=3, conclusions=1)
    for name, bound in (("work", 3), ("control", 2), ("conclude", 1)):
        put = getattr(mailbox, name)
        for number in range(bound):
            put(f"{name} {number}")
        with pytest.raises(MailboxFullError) as caught:
            put("too much")
        assert isinstance(caught.value, Web4Error)
        assert caught.value.code == "busy"
    assert (mailbox.refused, len(mailbox), mailbox.depths) == (3, 6, (1, 2, 3))
    served = ["conclude 0", "control 0", "control 1", "work 0", "work 1", "work 2"]
    assert mailbox.drain() == served
    assert mailbox.drain() == []


def test_round_serves_each_queue_its_share() -> None:
    """ACT-4a: conclusions, then control, then work; however much there is of the first, the last gets its share."""
    mailbox: Mailbox[str] = Mailbox()
    for number in range(200):
        mailbox.conclude(f"c{number}")
        mailbox.control(f"k{number}")
        mailbox.work(f"w{number}")
    first = mailbox.drain(64)
    assert first == [f"c{n}" for n in range(32)] + [f"k{n}" for n in range(16)] + [f"w{n}" for n in range(16)]
    served = first
    while items := mailbox.drain(64):
        assert len(items) <= 64
        served += items
    for kind in "ckw":
        assert [one for one in served if one[0] == kind] == [f"{kind}{n}" for n in range(200)]


def test_random_rounds_keep_order_and_bound() -> None:
    """ACT-4a over random loads: bounded rounds, order within each queue, and no queue waits for another to be empty."""
    seed = a_seed()
    print("seed", seed)
    rng = random.Random(seed)
    mailbox: Mailbox[tuple[str, int]] = Mailbox(control=50, work=90, conclusions=60)
    sent: dict[str, list[int]] = {"conclude": [], "control": [], "work": []}
    got: dict[str, list[int]] = {"conclude": [], "control": [], "work": []}
    for number in range(5_000):
        name = rng.choice(("conclude", "control", "work"))
        try:
            getattr(mailbox, name)((name, number))
            sent[name].append(number)
        except MailboxFullError:
            assert mailbox.depths[("conclude", "control", "work").index(name)] in {50, 90, 60}
        if rng.random() < 0.02:
            limit = rng.randint(4, 64)
            depths = mailbox.depths
            items = mailbox.drain(limit)
            assert len(items) == min(limit, sum(depths))
            for one, depth in zip(("conclude", "control", "work"), depths, strict=True):
                assert sum(name == one for name, _ in items) >= min(depth, limit // 4)
            for name, value in items:
                got[name].append(value)
    for name, value in mailbox.drain(10_000):
        got[name].append(value)
    assert got == sent


def test_telemetry_keeps_the_latest_and_counts_the_rest() -> None:
    """ACT-4c: per key the latest value wins, or it is dropped and counted; it never fills a queue."""
    mailbox: Mailbox[str] = Mailbox(telemetry=2)
    assert [mailbox.report("load", value) for value in (1, 2, 3)] == [True, True, True]
    assert mailbox.report("heat", 20)
    assert not mailbox.report("noise", 9)
    assert (mailbox.replaced, mailbox.dropped, len(mailbox)) == (2, 1, 0)
    assert mailbox.telemetry() == {"load": 3, "heat": 20}
    assert mailbox.telemetry() == {}


async def test_one_wake_up_for_many_items() -> None:
    """The receiver sleeps until something comes, and is woken once for all that is there."""
    mailbox: Mailbox[int] = Mailbox()
    rounds: list[list[int]] = []

    async def receive() -> None:
        for _ in range(3):
            await mailbox.wait()
            rounds.append(mailbox.drain())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError):
            await mailbox.wait()
        for number in range(5):
            mailbox.work(number)
        await trio.testing.wait_all_tasks_blocked()
        mailbox.wake()
        await trio.testing.wait_all_tasks_blocked()
        mailbox.report("key", 1)
    assert rounds == [[0, 1, 2, 3, 4], [], []]


async def test_cancelled_receiver_may_wait_again() -> None:
    """A receiver that is cancelled leaves nothing behind."""
    mailbox: Mailbox[int] = Mailbox()
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.wait()
    mailbox.work(1)
    await mailbox.wait()
    assert mailbox.drain() == [1]
