"""Calling an extension through a lane, and waiting for what the lane says came of it (EXT-3)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from web4.extensions.calls.calls_logic import CutCall, RequestCall
from web4.extensions.calls.kept_values import restored
from web4.foundation.errors import Web4Error

if TYPE_CHECKING:
    from web4.actors.lane_ref import LaneRef
    from web4.extensions.calls.call_events import CallConcluded, CallRequested
    from web4.extensions.outcome import CallOutcome
    from web4.journal.journal import Journal
    from web4.journal.lane import Lane

_LOOK_SECONDS: Final = 1.0
"""How often whoever waits looks whether the lane still lives."""


async def call_on_lane(
    journal: Journal, lane: LaneRef, request: CallRequested, *, principal: str | None = None
) -> CallOutcome:
    """Make a call through a `CallsLane`: durable before a worker sees it, concluded once.

    A call that the lane knows already, by its id, is not made again: this waits for it, or tells how it ended.

    Cancellation: the call is cut off, and concluded on the lane as cancelled; whoever closes the lane's actors waits
    for that.

    Args:
        journal: Where the lane is.
        lane: The handle of its actor.
        request: The call. Make its arguments with `kept_values.kept`.
        principal: On whose behalf.

    Raises:
        Everything that `LaneRef.ask` raises: then nothing was called, or the lane tells.
        CorruptJournalError, BlobNotFoundError: What came of it cannot be read.
    """
    call_id, taken = request.call_id, False
    after = (await journal.head(lane.lane)).seq
    try:
        command = RequestCall(request=request, at=journal.clock.wall_ms(), principal=principal)
        reply = await lane.ask(command)
        taken = True
        if reply != "requested":
            after = await _before(journal, lane.lane, call_id)
        concluded = await _wait_for(journal, lane, call_id, after)
    except trio.Cancelled:
        cut = CutCall(call_id=call_id, reason="cancelled", at=journal.clock.wall_ms(), principal=principal)
        with suppress(Web4Error):  # the lane is being closed: it sees to its calls itself
            # What was not taken yet must not be overtaken.
            lane.tell(cut, control=taken)
        raise
    value = await restored(journal, concluded.value)
    return concluded.as_outcome(value, await restored(journal, concluded.data))


async def _before(journal: Journal, lane: Lane, call_id: str) -> int:
    """The number of the record before the first of the lane that tells of a call."""
    after = 0
    while records := await journal.backend.find(("effect", call_id), after=after):
        for record in records:
            if record.lane == lane:
                return record.seq - 1
        after = records[-1].position
    return 0


async def _wait_for(journal: Journal, lane: LaneRef, call_id: str, after: int) -> CallConcluded:
    follower = journal.follow(lane.lane, after=after)
    try:
        while True:
            record = None
            with trio.move_on_after(_LOOK_SECONDS):
                record = await anext(follower)
            if record is None:
                await lane.state()  # raises when the lane takes nothing any more
            elif record.type == "extension.call_concluded":
                event: CallConcluded = journal.registry.decode(record)
                if event.call_id == call_id:
                    return event
    finally:
        follower.close()
