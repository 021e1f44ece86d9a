"""What a call asks of the node while it runs: a person's answer, or a workload's intent (EXT-18, TURN-20)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from web4.extensions.conversation import arriving
from web4.extensions.conversation.call import UiQuestion, UiReply
from web4.extensions.conversation.values import UnfitValueError, decode_value
from web4.extensions.conversation.wire import BacklogError
from web4.worker.frames import Frame, FrameError, IntentAnswer, UiAnswer

if TYPE_CHECKING:
    from web4.extensions.conversation.calling import Calling

MAX_OPEN: Final = 8
"""Questions and intents of a call that are open at once; more is a violation of the protocol."""
MAX_ID: Final = 128
"""Characters of the id of a question or an intent."""


class Dialogue:
    """The questions and intents of one call, each a task beside its reading."""

    def __init__(self, calling: Calling) -> None:
        self._calling = calling
        self._open: set[str] = set()

    def take(self, frame: arriving.UiRequest | arriving.Intent) -> None:
        """Take one.

        Raises:
            FrameError: It cannot be one: its id is in use or too long, or too many are open.
            UnfitValueError: What it holds is no value.
        """
        name = frame.request_id if isinstance(frame, arriving.UiRequest) else frame.intent_id
        if not 0 < len(name) <= MAX_ID or name in self._open:
            raise FrameError("a request whose id is in use, or too long")
        if len(self._open) >= MAX_OPEN:
            raise FrameError(f"more than {MAX_OPEN} requests are open")
        calling = self._calling
        if isinstance(frame, arriving.UiRequest):
            if not calling.conversation.terms.manifest.ui or calling.call.ask is None:
                self.decline(calling, frame)
                return
            question = self._question(frame)
            self._open.add(name)
            calling.also(lambda: self._ask(question))
            return
        if calling.call.kind != "workload" or calling.call.on_intent is None:
            self.decline(calling, frame)
            return
        intent = decode_value(frame.intent)
        self._open.add(name)
        calling.also(lambda: self._decide(name, intent))

    @staticmethod
    def decline(calling: Calling, frame: arriving.UiRequest | arriving.Intent) -> None:
        """Answer that nobody is asked."""
        if isinstance(frame, arriving.UiRequest):
            answer: Frame = UiAnswer(request_id=frame.request_id[:MAX_ID], outcome="refused")
        else:
            answer = IntentAnswer(
                id=frame.id, intent_id=frame.intent_id[:MAX_ID], ok=False, error="not_available"
            )
        calling.conversation.answer(answer)

    def _question(self, frame: arriving.UiRequest) -> UiQuestion:
        fields = decode_value(frame.fields)
        if not isinstance(fields, dict):
            raise UnfitValueError("fields that are no map")
        calling = self._calling
        name = calling.conversation.terms.manifest.name
        return UiQuestion(name, calling.call.call_id, frame.request_id, frame.method, fields)

    async def _ask(self, question: UiQuestion) -> None:
        calling = self._calling
        ask = calling.call.ask
        assert ask is not None
        reply: UiReply | None = None
        calling.clock.ask(trio.current_time())
        calling.moved()
        try:
            patience = calling.conversation.terms.manifest.timeouts.ui_ms / 1000
            with trio.move_on_after(patience) as waiting:
                reply = await ask(question) or UiReply("refused")
            if reply is None or waiting.cancelled_caught:
                reply = UiReply("timed_out")
            self._open.discard(question.request_id)
            calling.conversation.answer(
                UiAnswer(request_id=question.request_id, outcome=reply.outcome, value=reply.value)
            )
        except BacklogError as error:
            calling.violated(str(error))
        except Exception as error:
            calling.failed(error)
        finally:
            calling.clock.answered(trio.current_time())
            calling.moved()

    async def _decide(self, intent_id: str, intent: object) -> None:
        calling = self._calling
        decide = calling.call.on_intent
        assert decide is not None
        try:
            reply = await decide(intent_id, intent)
            self._open.discard(intent_id)
            calling.conversation.answer(
                IntentAnswer(id=calling.id, intent_id=intent_id, ok=reply.ok, error=reply.error)
            )
        except BacklogError as error:
            calling.violated(str(error))
        except Exception as error:
            calling.failed(error)
