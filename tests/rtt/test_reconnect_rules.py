"""When another carrier is tried for, and when no more (section 12; RTT-45, RTT-46). Time is Trio's mock clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing

from web4 import rtt
from web4.rtt.reconnect import BackOff, Reconnector

if TYPE_CHECKING:
    from collections.abc import Iterator


async def attempts(outcomes: list[rtt.RttError | None], **session: Any) -> tuple[list[float], list[str]]:
    """When a suspended session is tried for, if that ends as told; and how it was lost."""
    at: list[float] = []
    losses: list[str] = []
    fake = SimpleNamespace(state="suspended", peer_has_restarted=False, lose=losses.append, **session)
    left: Iterator[rtt.RttError | None] = iter(outcomes)

    async def attempt(_: rtt.RttSession) -> None:
        at.append(trio.current_time())
        if (error := next(left)) is not None:
            raise error

    began = trio.current_time()
    reconnector = Reconnector(cast("rtt.RttSession", fake), attempt, BackOff(0.1, 5.0, lambda: 1.0))
    await reconnector.run(60.0, True)
    return [when - began for when in at], losses


async def test_what_can_pass_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    """RTT-45, RTT-46: the first at once; `retry_after_ms` is a lower bound; damage is no verdict."""
    busy = rtt.HandshakeError("full", code="busy", retry_after_ms=1000)
    damaged = rtt.HandshakeError("damaged", code="damaged")
    nobody = rtt.TransportUnavailableError("nobody", code="unreachable")
    when, losses = await attempts([nobody, damaged, busy, None])
    assert when == pytest.approx([0.0, 0.1, 0.3, 1.7])
    assert losses == []


@pytest.mark.parametrize(
    ("error", "loss"),
    [
        (rtt.AuthenticationError("another", code="wrong_key"), "auth_failed"),
        (rtt.HandshakeError("no", code="not_admitted"), "not_admitted"),
        (rtt.HandshakeError("no", code="unknown_session"), "unknown_session"),
        (rtt.HandshakeError("no", code="ticket_spent"), "ticket_spent"),
        (rtt.HandshakeError("no", code="ticket_expired"), "ticket_expired"),
        (rtt.HandshakeError("no", code="stale_epoch"), "stale_epoch"),
        (rtt.HandshakeError("no", code="bad_cursor"), "cursor_invalid"),
        (rtt.VersionError("no", code="version"), "version"),
        (rtt.VersionError("no", code="extension"), "extension"),
    ],
)
async def test_what_is_final_is_not_tried_again(error: rtt.RttError, loss: str) -> None:
    """RTT-36, RTT-46."""
    when, losses = await attempts([error])
    assert (len(when), losses) == (1, [loss])


async def test_a_cut_during_a_replacement_waits_for_it(autojump_clock: trio.testing.MockClock) -> None:
    """RTT-30, RTT-32: one request at a time; if the replacement succeeds there is nothing left to do."""
    under_way: list[int] = []
    fake = SimpleNamespace(state="open")

    async def attempt(_: rtt.RttSession) -> None:
        under_way.append(1)
        assert under_way == [1]
        await trio.sleep(1.0)
        fake.state = "open"

    reconnector = Reconnector(cast("rtt.RttSession", fake), attempt, BackOff(0.1, 5.0, lambda: 1.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reconnector.replace)
        await trio.testing.wait_all_tasks_blocked()
        fake.state = "suspended"
        nursery.start_soon(reconnector.run, 60.0, True)
    assert under_way == [1]
