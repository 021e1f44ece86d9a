"""What a worker does while its call is being wound down, and after (EXT-3, EXT-19)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.extensions.conversing import START, a_call, conversing

if TYPE_CHECKING:
    from web4.extensions.conversation.call import UiQuestion, UiReply

ASKS = """
call = hear()
say(t="ui_request", id=call["id"], request_id="r", method="confirm", fields={})
"""


async def _asked_for_ever(asked: trio.Event, _question: UiQuestion) -> UiReply | None:
    asked.set()
    await trio.sleep_forever()


async def test_a_flood_while_a_call_with_an_open_question_is_wound_down() -> None:
    flood = START + ASKS + "\nwhile True:\n    say(t='ping', nonce=1)\n"
    async with conversing(flood, ui=True) as conversation:
        asked = trio.Event()
        call = a_call(ask=lambda question: _asked_for_ever(asked, question))
        async with trio.open_nursery() as nursery:

            async def cut() -> None:
                await asked.wait()
                assert conversation.cancel(call.call_id, "it is enough")

            nursery.start_soon(cut)
            outcome = await conversation.call(call)
        assert outcome.outcome == "cancelled"
        assert outcome.code == "extension_cancelled"
        assert not conversation.reusable
        assert conversation.open_call is None
