"""Questions to a person, a workload's events and intents, and callbacks that fail (EXT-18, TURN-20)."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.extensions.conversing import SERVE, START, a_call, conversing
from web4.extensions.conversation.call import IntentReply, UiQuestion, UiReply

CALL = START + "call = hear()\n"
HEEDS = CALL + "cancel = hear()\nresult(call, cancel['reason'], side_effects=False)\n" + SERVE


ASKS = (
    CALL
    + """
say(t='ui_request', id=call['id'], request_id='q1', method='confirm', fields={'text': 'Really?'})
answer = hear()
result(call, answer)
"""
    + SERVE
)


async def test_a_person_is_asked_and_the_clock_stops() -> None:
    asked: list[UiQuestion] = []

    async def ask(question: UiQuestion) -> UiReply:
        asked.append(question)
        await trio.sleep(1.5)
        return UiReply("answered", True)

    async with conversing(ASKS, ui=True) as conversation:
        call = a_call(ask=ask, timeout_ms=1_000)
        outcome = await conversation.call(call)
        assert outcome.value == {"t": "ui_answer", "request_id": "q1", "outcome": "answered", "value": True}
        assert asked == [UiQuestion("acme.test", call.call_id, "q1", "confirm", {"text": "Really?"})]
        assert conversation.reusable


@pytest.mark.parametrize(("ui", "answers"), [(False, True), (True, False), (True, None)])
async def test_nobody_is_asked_without_consent(ui: bool, answers: bool | None) -> None:
    async def ask(question: UiQuestion) -> UiReply | None:
        assert ui
        return None

    async with conversing(ASKS, ui=ui) as conversation:
        outcome = await conversation.call(a_call(ask=None if answers is None else ask))
        assert outcome.value["outcome"] == "refused"


async def test_a_question_times_out() -> None:
    async def ask(question: UiQuestion) -> UiReply:
        await trio.sleep_forever()
        raise AssertionError

    async with conversing(ASKS, ui=True, timeouts={"ui_ms": 50}) as conversation:
        outcome = await conversation.call(a_call(ask=ask))
        assert outcome.value["outcome"] == "timed_out"


async def test_questions_stop_the_clock_for_ui_ms_in_all() -> None:
    """An extension that asks without end does not live for ever."""
    program = (
        CALL
        + """
n = 0
while True:
    n += 1
    say(t='ui_request', id=call['id'], request_id=f'q{n}', method='confirm', fields={})
    hear()
"""
    )

    async def ask(question: UiQuestion) -> UiReply:
        await trio.sleep(0.02)
        return UiReply("answered", False)

    async with conversing(program, ui=True, timeouts={"ui_ms": 200}) as conversation:
        outcome = await conversation.call(a_call(ask=ask, timeout_ms=100))
        assert outcome.code == "extension_timeout"


@pytest.mark.parametrize(
    "then",
    [
        "say(t='ui_request', id=call['id'], request_id='q', method='confirm'); " * 2,
        "say(t='ui_request', id=call['id'], request_id='', method='confirm'); ",
        "say(t='ui_request', id=call['id'], request_id='q' * 129, method='confirm'); ",
        "say(t='ui_request', id=call['id'], request_id='q', method='dance'); ",
        "say(t='ui_request', id=call['id'], request_id='q', method='confirm', fields=[1]); ",
        "[say(t='ui_request', id=call['id'], request_id=f'q{n}', method='confirm') for n in range(9)]; ",
        "say(t='intent', id=call['id'], intent_id='', intent=1); ",
    ],
)
async def test_requests_that_are_none(then: str) -> None:
    async def ask(question: UiQuestion) -> UiReply:
        await trio.sleep_forever()
        raise AssertionError

    async with conversing(CALL + then + "time.sleep(60)", ui=True) as conversation:
        outcome = await conversation.call(a_call(ask=ask))
        assert outcome.code == "extension_protocol_error"


async def test_a_workload_emits_and_intends() -> None:
    """TURN-20: its events in order, its intents answered."""
    program = (
        CALL
        + """
for n in range(300): say(t='emit', id=call['id'], event_type='token', payload={'n': n})
say(t='intent', id=call['id'], intent_id='i1', intent={'want': 'commit'})
answer = hear()
say(t='emit', id=call['id'], event_type='done')
result(call, answer)
"""
        + SERVE
    )
    seen: list[Any] = []

    async def on_emit(kind: str, payload: Any) -> None:
        await trio.lowlevel.checkpoint()
        seen.append((kind, payload))

    async def on_intent(intent_id: str, intent: Any) -> IntentReply:
        return IntentReply(ok=intent == {"want": "commit"}, error=intent_id)

    async with conversing(program) as conversation:
        call = a_call(kind="workload", on_emit=on_emit, on_intent=on_intent)
        outcome = await conversation.call(call)
        assert outcome.value == {
            "t": "intent_answer",
            "id": call.call_id,
            "intent_id": "i1",
            "ok": True,
            "error": "i1",
        }
        assert seen == [*(("token", {"n": n}) for n in range(300)), ("done", None)]


@pytest.mark.parametrize("which", ["on_progress", "ask", "on_emit", "on_intent"])
async def test_what_a_callback_raises_is_raised_to_the_caller(which: str) -> None:
    program = (
        CALL
        + """
say(t='progress', id=call['id'])
say(t='ui_request', id=call['id'], request_id='q', method='confirm')
if call['kind'] == 'workload':
    say(t='intent', id=call['id'], intent_id='i', intent=1)
    say(t='emit', id=call['id'], event_type='x')
time.sleep(60)
"""
    )

    def fail(update: Any) -> None:
        raise LookupError("mine")

    async def fails(*_: Any) -> Any:
        raise LookupError("mine")

    kind = "workload" if which in ("on_emit", "on_intent") else "tool"
    callback = fail if which == "on_progress" else fails
    async with conversing(program, ui=True) as conversation:
        with pytest.raises(LookupError, match="mine"):
            await conversation.call(a_call(kind=kind, **{which: callback}))
        assert conversation.process.exit is not None
        assert conversation.open_call is None
