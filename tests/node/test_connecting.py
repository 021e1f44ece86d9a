"""The Connector's patience with peers that answer and do not shake hands."""

from __future__ import annotations

from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from web4.foundation.clock import SystemClock
from web4.mesh.registry.peers_events import PeerEntry
from web4.node.connecting import LONGEST_PAUSE, Connector
from web4.node.tries import Tries
from web4.protocols.errors import HandshakeFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio.testing import MockClock

PEER = "ab" * 32


class Refusing:
    """A peer whose sessions open and end at once, with or without a handshake, and all that the Connector asks."""

    def __init__(self, *, shakes: bool) -> None:
        self.dials = 0
        self._shakes = shakes
        self.trust = SimpleNamespace(state=lambda _: "unknown", observe=self.observe)
        entry = PeerEntry(fingerprint=PEER, source="configured", at_ms=0, addresses=("tcp://x:1",))
        self._known = SimpleNamespace(entry=entry)

    def observe(self, _: object) -> Callable[[], None]:
        return lambda: None

    def all(self) -> list[Any]:
        return [self._known]

    def get(self, _: str) -> Any:
        return self._known

    def peers(self) -> list[str]:
        return []

    @asynccontextmanager
    async def dial(self, _: str, *, expect: str) -> AsyncIterator[None]:
        assert expect == PEER
        self.dials += 1
        yield

    async def serve(self, _: object) -> None:
        await trio.lowlevel.checkpoint()

    async def established(self, _: object) -> None:
        await trio.lowlevel.checkpoint()
        if not self._shakes:
            raise HandshakeFailed("no", code="no_common_protocol", peer=PEER)


@pytest.mark.parametrize(("shakes", "least", "most"), [(False, 5, 40), (True, 1_000, 100_000)])
async def test_a_failed_handshake_is_tried_again_ever_less_often(
    autojump_clock: MockClock, shakes: bool, least: int, most: int
) -> None:
    """WEB-6: a peer that ends every handshake is dialled up to the longest pause apart; one that had one, at once."""
    peer = Refusing(shakes=shakes)
    with trio.move_on_after(10 * LONGEST_PAUSE):
        tries = Tries(clock=SystemClock(), known=lambda _: True)
        await Connector(cast("Any", peer), cast("Any", peer), cast("Any", peer), tries=tries).run()
    assert least <= peer.dials <= most
