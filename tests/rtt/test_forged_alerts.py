"""Whoever is on the path can write a TLS alert: it ends a carrier, never the session (RTT-46, RTT-49)."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from tests.rtt.arrange import ALICE, BOB, LOOPBACK, SAFETY, Events, anybody, next_session, until
from web4 import rtt

FORGED = 3
"""Resumes that the path answers by itself."""


@pytest.mark.parametrize("alert", [40, 42, 46, 48, 49, 71, 80, 86, 112, 116, 255])
async def test_a_forged_alert_ends_a_carrier_never_the_session(alert: int) -> None:
    """A fatal alert in plain text, before anybody has proven anything, is no refusal of the peer."""
    events = Events()
    async with rtt.open_endpoint(BOB) as bob, rtt.open_endpoint(ALICE, emit=events) as alice:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        async with trio.open_nursery() as nursery:
            path = Path(int(listener.addresses[0].rsplit(":", 1)[1]), bytes([21, 3, 3, 0, 2, 2, alert]))
            [front] = await nursery.start(partial(trio.serve_tcp, path.serve, 0, host="127.0.0.1"))
            port = front.socket.getsockname()[1]
            async with alice.dial(f"tcp://127.0.0.1:{port}", expect=BOB.fingerprint) as here:
                there = await next_session(bob)
                path.forge = FORGED
                await path.cut()
                await until(lambda: (here.reconnects, there.reconnects) == (1, 1))
                await here.control.send(b"still here")
                with trio.fail_after(SAFETY):
                    assert await there.control.receive() == b"still here"
                assert events.names("session_lost") == []
                here.abort("the test is over")
                there.abort("the test is over")
            nursery.cancel_scope.cancel()
    assert path.forge == 0
    assert {one["code"] for one in events.fields("carrier_failed")} <= {
        "alert",
        "damaged",
        "alpn",
        "tls_version",
    }


class Path:
    """Carries bytes to a port and back; answers as many dials as it is told with a forgery of its own."""

    def __init__(self, port: int, forgery: bytes) -> None:
        self.forge = 0
        self._port = port
        self._forgery = forgery
        self._streams: list[trio.SocketStream] = []

    async def cut(self) -> None:
        for stream in self._streams:
            await trio.aclose_forcefully(stream)
        self._streams.clear()

    async def serve(self, near: trio.SocketStream) -> None:
        if self.forge:
            self.forge -= 1
            await near.receive_some(1)
            await near.send_all(self._forgery)
            return
        far = await trio.open_tcp_stream("127.0.0.1", self._port)
        self._streams += [near, far]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry, near, far)
            nursery.start_soon(self._carry, far, near)

    async def _carry(self, source: trio.SocketStream, target: trio.SocketStream) -> None:
        try:
            async for data in source:
                await target.send_all(data)
            await target.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
