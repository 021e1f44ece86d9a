"""What the journal itself says on `server` never harms those who write: it is split, or left out and reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.journal.arrange import NOTED, ONE, Bench, note, texts, types
from web4.foundation.identity import Identity
from web4.journal.anchoring import check_anchor
from web4.journal.backends.memory import open_memory
from web4.journal.errors import ProhibitedDataError
from web4.journal.event_types import EventRegistry
from web4.journal.journal import Append
from web4.journal.lane import SERVER, Lane
from web4.journal.opening import open_journal
from web4.journal.redaction import Redactor

if TYPE_CHECKING:
    import trio.testing

    from web4.journal.event_types import EventType

NODE = Identity.from_seed(bytes(32))


@pytest.mark.parametrize(("payload_bytes", "most"), [(256 * 1024, 726), (4_096, 9)])
async def test_anchors_of_lanes_with_long_names(payload_bytes: int, most: int) -> None:
    """JRN-3f, JRN-2: an anchor fits into a payload, however long lanes are called; all of them are anchored."""
    bench = Bench()
    lanes = [Lane("session", f"{number:04d}".ljust(256, "x")) for number in range(800)]
    async with bench.journal(identity=NODE, payload_bytes=payload_bytes) as journal:
        await journal.append_batch([Append(lane, [note(1)], 0) for lane in lanes])
    async with bench.journal(identity=NODE) as journal:
        assert not journal.halted
        anchors = [journal.registry.decode(one) for one in await journal.read(SERVER)]
        for anchor in anchors:
            check_anchor(anchor, journal.journal_id)
        assert [name for anchor in anchors for name, _, _ in anchor.lanes] == [str(lane) for lane in lanes]
        assert max(len(anchor.lanes) for anchor in anchors) == most


async def test_a_hook_that_refuses_what_the_journal_says(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-19c, JRN-15d: nothing passes unredacted, and whoever appended is told the truth."""
    bench = Bench()

    def refuses(one: EventType, event: Any) -> Any:
        if one.name.startswith("journal."):
            raise ValueError
        return event

    async with (
        open_memory(bench.store, faults=bench.faults) as backend,
        open_journal(
            backend,
            registry=EventRegistry([NOTED]),
            identity=NODE,
            emit=bench.emitted,
            redactor=Redactor(backend.hash_key, before_persist=[refuses]),
        ) as journal,
    ):
        bench.faults.plan("commit", "not_committed")
        assert (await journal.append(ONE, [note(1)], expected_seq=0)).last_seq == 1
        await journal.append(ONE, [note(2)], expected_seq=1)
        assert await texts(journal, ONE) == ["1", "2"]
    refused = [one["event"] for one in bench.emitted.named("own_event_refused")]
    assert refused == ["JournalResumed", "JournalAnchored"]
    async with bench.journal() as journal:
        assert await types(journal, SERVER) == []


async def test_a_lane_that_is_called_like_a_secret() -> None:
    """JRN-18f: the name would stand in every header and in every anchor."""
    bench = Bench()
    async with (
        open_memory(bench.store) as backend,
        open_journal(
            backend,
            registry=EventRegistry([NOTED]),
            redactor=Redactor(backend.hash_key, secrets={"token": "very-secret"}),
        ) as journal,
    ):
        for appending in (
            journal.append(Lane("session", "x.very-secret"), [note(1)], expected_seq=0),
            journal.append(ONE, [note(1, cause=(Lane("session", "very-secret"), 1))], expected_seq=0),
        ):
            with pytest.raises(ProhibitedDataError) as caught:
                await appending
            assert caught.value.field in {"lane", "cause"}
        await journal.append(ONE, [note(1)], expected_seq=0)
    assert not bench.store.holds(b"very-secret")
