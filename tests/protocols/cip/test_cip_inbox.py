"""The inbox: its bounds, its fairness, and that no delivery is lost to a cancelled reader (LIM-1)."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.protocols.cip.examples import INTENT, reception, sealed
from web4.protocols.cip.actions import Delivery
from web4.protocols.cip.inbox import Inbox
from web4.protocols.cip.validation import validate

MESSAGE = validate(sealed(INTENT), reception("knowledge")).message


def delivery(peer: str, size: int = 1) -> Delivery:
    return Delivery(peer, "probing", "yes", MESSAGE, "0f" * 32, size, 0)


def inbox(**limits: Any) -> Inbox:
    roomy = {"per_peer": 100, "total": 100, "bytes_per_peer": 1_000, "bytes_total": 1_000}
    return Inbox(**{**roomy, **limits})


async def test_each_bound_holds_and_gives_way_again() -> None:
    for limits, fits in (
        ({"per_peer": 2}, 2),
        ({"total": 2}, 2),
        ({"bytes_per_peer": 20}, 2),
        ({"bytes_total": 20}, 2),
    ):
        box = inbox(**limits)
        assert [box.put(delivery("a", 10)) for _ in range(4)] == [True] * fits + [False] * (4 - fits), limits
        assert box.put(delivery("b", 10)) == ("per_peer" in str(limits)), limits
        await anext(box)
        assert box.put(delivery("a", 10)), limits


async def test_who_reads_waits_for_room(autojump_clock: MockClock) -> None:
    """LIM-1: a fast peer is slowed down by its transport before it is refused as busy, and never for long."""
    box = inbox(per_peer=4)
    for _ in range(2):
        box.put(delivery("a"))
    began = trio.current_time()
    await box.relieved("a", 2, 1.0)
    await box.relieved("b", 64, 1.0)
    assert trio.current_time() == began, "there is room, and no more than fits is asked for"
    await box.relieved("a", 3, 1.0)
    assert trio.current_time() == began + 1.0, "nobody takes anything: it is not waited for longer"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.relieved, "a", 3, 60.0)
        await wait_all_tasks_blocked()
        await anext(box)
    assert trio.current_time() == began + 1.0, "somebody took one"


async def test_what_is_taken_is_taken_in_order_and_once() -> None:
    box = inbox()
    taken: list[int] = []

    async def take() -> None:
        async for one in box:
            taken.append(one.size)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        nursery.start_soon(take)
        for size in range(1, 11):
            box.put(delivery("a", size))
        await wait_all_tasks_blocked()
        box.close()
    assert taken == list(range(1, 11))
    assert not box.put(delivery("a")), "closed"


async def test_a_cancelled_reader_has_taken_nothing() -> None:
    for woken in (False, True):
        box, taken = inbox(), list[Delivery]()

        async def take(box: Inbox = box, taken: list[Delivery] = taken) -> None:
            taken.append(await anext(box))

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(take)
                await wait_all_tasks_blocked()
                if woken:
                    box.put(delivery("a"))
                scope.cancel()
        if not woken:
            box.put(delivery("a"))
        assert len(taken) + len(box) == 1, "with its reader, or still here"


async def test_purging_leaves_the_others() -> None:
    box = inbox(per_peer=1)
    for peer in ("a", "b"):
        box.put(delivery(peer))
    box.purge("a")
    box.purge("nobody")
    assert len(box) == 1
    assert box.put(delivery("a"))
    assert [(await anext(box)).peer for _ in range(2)] == ["b", "a"]
