"""A lane whose payloads were erased is rebuilt from the snapshot that stands for them (JRN-7, JRN-16)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.journal.ledger import (
    DEFINITIONS,
    LANE,
    Ledger,
    LedgerLogic,
    Writer,
    opened,
    sequence,
    types,
)
from web4.actors.definition import LaneDefinition
from web4.actors.rebuilding import rebuild
from web4.journal.errors import CorruptJournalError
from web4.journal.retention import Bounds, RetentionPolicy, retain

if TYPE_CHECKING:
    from web4.journal.journal import Journal


def definition(version: int, **upcasters: Any) -> LaneDefinition[Any, Any, Any, Any]:
    """The ledger's lane with a logic of some version."""
    return LaneDefinition(
        logic=LedgerLogic(),
        state=Ledger,
        events=types(),
        version=version,
        upcasters={int(name[1:]): step for name, step in upcasters.items()},
    )


async def erased(journal: Journal) -> Writer:
    """A lane of ten records of which the first eight have no payload any more."""
    writer = Writer(journal)
    for command in sequence("place a", "finish a", *["note"] * 7):
        await writer.handle(command)
    policy = RetentionPolicy(payloads=Bounds(max_records=1))
    (result,) = await retain(journal, {"session": policy}, definitions=DEFINITIONS)
    assert result.erased == 8
    return writer


async def test_a_snapshot_that_stands_for_erased_payloads_follows_the_logic() -> None:
    async with opened() as journal:
        writer = await erased(journal)
        same = await rebuild(journal, LANE, definition(1))
        assert same.state == writer.state
        # Two of them stand behind what was erased, in case one is damaged.
        assert [one.seq for one in await journal.snapshots(LANE)] == [same.snapshot_seq, 8]
        carried = await rebuild(journal, LANE, definition(2, v1=lambda state: {**state, "epoch": 100}))
        assert carried.state == msgspec.structs.replace(writer.state, epoch=100)


async def test_without_a_way_the_lane_cannot_be_rebuilt() -> None:
    async with opened() as journal:
        await erased(journal)
        with pytest.raises(CorruptJournalError):
            await rebuild(journal, LANE, definition(2))
