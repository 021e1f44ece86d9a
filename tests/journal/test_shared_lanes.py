"""Lanes that go from one node to another and back (JRN-24b), over a shared store in memory."""

from __future__ import annotations

import pytest

from tests.journal.arrange import ONE, TWO, Bench, note, texts
from web4.foundation.ids import SeededIds
from web4.journal.backends.memory import MemoryStore
from web4.journal.errors import WrongExpectedSeq
from web4.journal.journal import Append


async def test_a_lane_that_comes_back() -> None:
    """JRN-24b, JRN-4a: what another node has written meanwhile is seen, and the lane can be written again."""
    bench = Bench(store=MemoryStore(ids=SeededIds("shared"), shared=True))
    async with bench.journal() as here, bench.journal() as there:
        await here.append(ONE, [note("here")], expected_seq=0)
        await here.backend.release(ONE)
        await there.append(ONE, [note("there"), note("again")], expected_seq=1)
        await there.backend.release(ONE)
        with pytest.raises(WrongExpectedSeq) as caught:
            await here.append(ONE, [note("too far")], expected_seq=9)
        assert caught.value.actual == 3
        batch = [Append(TWO, [note("beside")], 0), Append(ONE, [note("back")], 3)]
        assert (await here.append_batch(batch))[1].last_seq == 4
        assert await texts(there, ONE) == ["here", "there", "again", "back"]
