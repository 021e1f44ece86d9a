"""Names that nobody answers for (FETCH-4, FETCH-8)."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio

from web4.protocols.lip.fetching.dialing import system_resolve

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that answers when the test is over."""
    over = threading.Event()

    def wait(*_: Any, **__: Any) -> list[Any]:
        over.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    yield over
    over.set()


async def give_up(host: str) -> None:
    with trio.move_on_after(0.05):
        await system_resolve(host, 80)


async def test_a_silent_name_server_takes_no_thread_from_others(silence: threading.Event) -> None:
    """FETCH-8: sixty fetches that gave up on a name leave the node's other threads alone."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(give_up, f"{number}.example")
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        assert await trio.to_thread.run_sync(lambda: "there") == "there"
        silence.set()
