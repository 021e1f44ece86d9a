"""The end of a call that nobody wants any more: told to stop, given its time, and killed if it does not (EXT-19)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from web4.extensions.conversation import arriving
from web4.extensions.conversation.concluding import Ending
from web4.extensions.conversation.dialogue import Dialogue
from web4.extensions.conversation.wire import WireEndedError
from web4.worker.frames import Cancel, FrameError

if TYPE_CHECKING:
    from web4.extensions.conversation.calling import Calling

Answer = arriving.Result | arriving.Error


async def wind_down(calling: Calling, reason: str) -> Ending:
    """Tell a worker to stop, and wait for its answer for `cancel_ms`, or `settle_ms` if it cannot be told.

    Of the answer only `side_effects` counts. Run it shielded: it is bounded.
    """
    call, conversation = calling.call, calling.conversation
    grace = conversation.terms.manifest.timeouts.cancel_ms if call.cancellable else call.settle_ms
    answer: Answer | None = None
    with trio.CancelScope(deadline=trio.current_time() + grace / 1000) as calling.scope:
        if calling.given_up:
            calling.scope.cancel()
        try:
            async with trio.open_nursery() as calling.company:
                if call.cancellable:
                    conversation.wire.send(Cancel(id=calling.id, reason=reason))
                calling.company.start_soon(conversation.wire.flushed)
                answer = await _answer(calling)
                calling.company.cancel_scope.cancel()
        except* (WireEndedError, FrameError):
            pass  # it will not answer
        finally:
            calling.company = None
    return Ending(
        "cancelled",
        "extension_cancelled",
        reason,
        side_effects=None if answer is None else answer.side_effects,
        fatal=answer is None,
    )


async def _answer(calling: Calling) -> Answer:
    """The answer to the call; everything else is heard and does not count any more."""
    conversation = calling.conversation
    wire = conversation.wire
    while True:
        body = wire.next()
        while body is None:
            await wire.readable()
            body = wire.read()
            if (excess := conversation.meter.excess()) is not None:
                conversation.fail(*excess)
                await trio.lowlevel.checkpoint()  # which ends it here
        frame = arriving.decode(body)
        if not isinstance(frame, arriving.OfCall):
            conversation.take(frame)
        elif frame.id != calling.id:
            conversation.take_stray(frame)
        elif isinstance(frame, Answer):
            return frame
        elif isinstance(frame, arriving.UiRequest | arriving.Intent):
            Dialogue.decline(calling, frame)
