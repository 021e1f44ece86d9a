"""What takes long is computed beside the loop."""

from __future__ import annotations

import threading

import pytest
import trio

from web4.actors.aside import LARGE_BYTES, aside


async def test_only_what_is_large_goes_to_a_thread() -> None:
    assert await aside(LARGE_BYTES - 1, threading.get_ident) == threading.get_ident()
    assert await aside(LARGE_BYTES, threading.get_ident) != threading.get_ident()


async def test_the_loop_goes_on_meanwhile() -> None:
    """A heartbeat is sent while a large state is being written."""
    beaten = threading.Event()

    async def beat() -> None:
        beaten.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beat)
        assert await aside(LARGE_BYTES, beaten.wait, 10)


async def test_what_it_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="zz"):
        await aside(LARGE_BYTES, int, "zz")
