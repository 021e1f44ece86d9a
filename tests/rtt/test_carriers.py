"""Carriers that come too late, too often or too early for their session, and what they must not break (section 9)."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio
import trio.testing

from tests.rtt import foreign
from tests.rtt.arrange import (
    BOB,
    LOOPBACK,
    SAFETY,
    Events,
    anybody,
    next_session,
    until,
)
from tests.rtt.foreign import Foreigner
from web4 import rtt

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = b"f" * 32


class Impatient:
    """A peer of ours that asks to resume whenever it likes, on as many carriers as it likes."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self._url = url
        self._stack = stack

    def carrier(self, said: bytes) -> tuple[Foreigner, int, bytes]:
        """Another carrier, opened with `said`: it, and the type and body of the answer."""
        host, port = self._url[len("tcp://") :].split(":")
        connection = self._stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
        foreigner = Foreigner(connection, SEED)
        foreigner.handshake()
        foreigner.write(foreign.VERSION + said)
        kind, body = foreign.frames(foreigner.read()[1:])[0]
        return foreigner, kind, body

    def begin(self) -> Foreigner:
        """Open a session that can be resumed."""
        foreigner, kind, body = self.carrier(foreign.start(resume_window_ms=600_000))
        assert kind == 0x02
        self.session_id, self.ticket = body[1:17], body[33:65]
        foreigner.write(foreign.confirm(self.session_id))
        return foreigner


T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    with trio.fail_after(SAFETY):
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True)


@pytest.mark.parametrize(
    ("ticket", "epoch", "cursor", "code"),
    [(bytes(32), 1, 0, 0x0104), (None, 0, 0, 0x0106)],
    ids=["ticket_spent", "stale_epoch"],
)
async def test_a_refused_resume_disturbs_nobody(
    ticket: bytes | None, epoch: int, cursor: int, code: int
) -> None:
    """RTT-32: neither the session that it named nor the endpoint."""
    events = Events()
    async with rtt.open_endpoint(BOB, emit=events) as bob:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        with ExitStack() as stack:
            peer = Impatient(listener.addresses[0], stack)
            await in_thread(peer.begin)
            session = await next_session(bob)
            asked = foreign.resume(peer.session_id, ticket or peer.ticket, epoch, cursor)
            _, kind, body = await in_thread(lambda: peer.carrier(asked))
            assert (kind, int.from_bytes(body[:2])) == (0x06, code)
            fields = await events.wait("carrier_failed")
            assert fields["peer"] == foreign.fingerprint(SEED)
            assert session.state == "open"
            assert not session.pump.closed
            assert sum(bob.metrics().total.resumes_refused.values()) == 1
            session.abort("the test is over")


async def test_an_impossible_cursor_ends_the_session_and_nothing_else() -> None:
    """RTT-29: it is lost, and its endpoint goes on."""
    async with rtt.open_endpoint(BOB) as bob:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        with ExitStack() as stack:
            peer = Impatient(listener.addresses[0], stack)
            await in_thread(peer.begin)
            session = await next_session(bob)
            asked = foreign.resume(peer.session_id, peer.ticket, 1, 1 << 40)
            _, kind, _ = await in_thread(lambda: peer.carrier(asked))
            assert kind == 0x06
            await until(lambda: session.ended)
            with pytest.raises(rtt.SessionLost) as caught:
                await session.control.receive()
            assert caught.value.reason == "cursor_invalid"
            assert bob.session_count == 0
