"""Tickets in wrong hands, and spent ones (RTT-31 to RTT-33, RTT-36): refused, and nothing is disturbed by it."""

from __future__ import annotations

import socket
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio

from tests.rtt import foreign
from tests.rtt.arrange import BOB, LOOPBACK, SAFETY, Events, anybody, next_session, until
from tests.rtt.foreign import Foreigner
from web4 import rtt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

OWNER = b"owner".ljust(32, b"\0")
THIEF = b"thief".ljust(32, b"\0")
UNKNOWN_SESSION, TICKET_SPENT, STALE_EPOCH = 0x0103, 0x0104, 0x0106


def resume(session_id: bytes, ticket: bytes, *, epoch: int, cursor: int = 0) -> bytes:
    body = foreign.u8(b"\x01") + session_id + bytes(16) + ticket + struct.pack(">IQ", epoch, cursor) + b"\0"
    return foreign.VERSION + foreign.frame(0x03, body)


class Client:
    """Carriers of one identity to one port, by our own second writing of the protocol."""

    def __init__(self, seed: bytes, port: int) -> None:
        self.seed, self.port = seed, port
        self.sockets: list[socket.socket] = []

    def carrier(self) -> Foreigner:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=SAFETY)
        self.sockets.append(connection)
        peer = Foreigner(connection, self.seed)
        peer.handshake()
        return peer

    def open(self) -> tuple[Foreigner, bytes, bytes]:
        """START to CONFIRM: the carrier, the session's id, its ticket."""
        peer = self.carrier()
        peer.write(foreign.VERSION + foreign.start(resume_window_ms=600_000))
        kind, body = foreign.frames(peer.read()[1:])[0]
        assert kind == 0x02
        session_id, ticket = body[1:17], body[33:65]
        peer.write(foreign.confirm(session_id))
        return peer, session_id, ticket

    def resume(self, session_id: bytes, ticket: bytes, epoch: int) -> tuple[Foreigner, int, bytes]:
        """RESUME, and the kind and body of the answer."""
        peer = self.carrier()
        peer.write(resume(session_id, ticket, epoch=epoch))
        kind, body = foreign.frames(peer.read()[1:])[0]
        return peer, kind, body

    def refusal(self, session_id: bytes, ticket: bytes, epoch: int) -> int:
        """RESUME, which must be refused: the code."""
        _, kind, body = self.resume(session_id, ticket, epoch)
        assert kind == 0x06
        return int.from_bytes(body[:2])

    def close(self) -> None:
        for connection in self.sockets:
            connection.close()


@asynccontextmanager
async def bob_and_two() -> AsyncGenerator[tuple[rtt.Endpoint, Events, Client, Client]]:
    events = Events()
    async with rtt.open_endpoint(BOB, emit=events) as bob:
        port = int((await bob.listen(LOOPBACK, admit=anybody)).addresses[0].rsplit(":", 1)[1])
        owner, thief = Client(OWNER, port), Client(THIEF, port)
        with trio.fail_after(SAFETY):
            try:
                yield bob, events, owner, thief
            finally:
                owner.close()
                thief.close()
                bob.abort_all()


async def test_rtt_foreign_resume() -> None:
    """RTT-33: another identity presents a valid ticket: it learns what it would of a session that never was, the
    evidence names it, and the session works on, on its carrier and after its owner has resumed with that ticket."""
    async with bob_and_two() as (bob, events, owner, thief):
        peer, session_id, ticket = await trio.to_thread.run_sync(owner.open)
        session = await next_session(bob)
        stolen = await trio.to_thread.run_sync(thief.refusal, session_id, ticket, 1)
        never = await trio.to_thread.run_sync(thief.refusal, bytes(16), ticket, 1)
        assert stolen == never == UNKNOWN_SESSION
        evidence = await events.wait("replay_detected")
        whose = foreign.fingerprint(THIEF)
        assert (evidence["peer"], evidence["session_id"]) == (whose, session_id.hex())
        assert len(events.fields("replay_detected")) == 1
        await until(lambda: bob.failures[whose, "unknown_session"] == 2)
        assert not bob.failures[foreign.fingerprint(OWNER), "unknown_session"]

        assert session.state == "open"
        peer.write(foreign.opened(1, 1) + foreign.message(2, 1, b"before"))
        channel = await session.accept_channel()
        assert await channel.receive() == b"before"

        owner.close()
        await events.wait("session_suspend")
        assert await trio.to_thread.run_sync(thief.refusal, session_id, ticket, 5) == UNKNOWN_SESSION
        assert session.state == "suspended"
        peer, kind, body = await trio.to_thread.run_sync(owner.resume, session_id, ticket, 1)
        assert kind == 0x04
        epoch, cursor = struct.unpack_from(">IQ", body, 17)
        assert (epoch, cursor) == (1, 2)
        peer.write(foreign.frame(0x05, session_id + struct.pack(">I", 1)))
        peer.write(foreign.message(3, 1, b"after"))
        assert await channel.receive() == b"after"
        assert session.epoch == session.reconnects == 1


async def test_a_spent_ticket_is_refused_for_ever() -> None:
    """RTT-31, RTT-32: also to its owner, with any epoch; the session stays where it is."""
    async with bob_and_two() as (bob, events, owner, _):
        _, session_id, first = await trio.to_thread.run_sync(owner.open)
        session = await next_session(bob)
        peer, kind, body = await trio.to_thread.run_sync(owner.resume, session_id, first, 1)
        assert kind == 0x04
        second = body[29:61]
        peer.write(foreign.frame(0x05, session_id + struct.pack(">I", 1)))
        await events.wait("session_resume")

        async def refuse(ticket: bytes, epoch: int) -> int:
            return await trio.to_thread.run_sync(owner.refusal, session_id, ticket, epoch)

        assert await refuse(first, 2) == TICKET_SPENT
        assert await refuse(first, 900) == TICKET_SPENT
        assert await refuse(bytes(32), 2) == TICKET_SPENT
        assert await refuse(second, 1) == STALE_EPOCH
        assert (session.state, session.epoch) == ("open", 1)
        peer.write(foreign.opened(1, 1) + foreign.message(2, 1, b"still here"))
        assert await (await session.accept_channel()).receive() == b"still here"


async def test_a_fenced_carrier_changes_nothing() -> None:
    """RTT-31, RTT-50: once RESUME is granted, what the older carrier still says is ignored."""
    async with bob_and_two() as (bob, events, owner, _):
        old, session_id, ticket = await trio.to_thread.run_sync(owner.open)
        session = await next_session(bob)
        new, kind, _ = await trio.to_thread.run_sync(owner.resume, session_id, ticket, 7)
        assert kind == 0x04
        new.write(foreign.frame(0x05, session_id + struct.pack(">I", 7)))
        await events.wait("session_resume")
        with suppress(OSError):  # the acceptor may have closed it by now
            old.write(foreign.opened(1, 1, name=b"old"))
        new.write(foreign.opened(1, 1, name=b"new"))
        assert (await session.accept_channel()).name == "new"
        assert session.epoch == 7
