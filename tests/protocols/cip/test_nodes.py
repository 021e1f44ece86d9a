"""The nodes of these tests hide nothing: a test that fails inside them has failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.protocols.cip.nodes import nodes
from web4.journal.backends.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("durable", [False, True])
async def test_what_a_test_raises_comes_out(
    clock: MockClock, tmp_path: Path, connected: bool, durable: bool
) -> None:
    of = {"store": MemoryStore()} if durable else {}

    async def fails() -> None:
        async with nodes(tmp_path, ada=of, bob=of and {"store": MemoryStore()}) as (ada, bob):
            if connected:
                await ada.cip.established(await ada.dial(bob))
            raise AssertionError("this one")

    with pytest.raises(AssertionError, match="this one"):
        await fails()


async def test_one_that_waits_in_vain_ends(clock: MockClock, tmp_path: Path) -> None:
    with pytest.raises(trio.TooSlowError):
        async with nodes(tmp_path, 5) as (ada, _):
            await ada.event("an event that never comes")
