"""Deadlines, silence, questions that stop the clock, and cancellation (EXT-18 to EXT-21)."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.extensions.conversing import SERVE, START, a_call, conversing, manifest
from web4.extensions.conversation.terms import Terms

if TYPE_CHECKING:
    from web4.extensions.conversation.call import UiQuestion, UiReply

CALL = START + "call = hear()\n"
HEEDS = CALL + "cancel = hear()\nresult(call, cancel['reason'], side_effects=False)\n" + SERVE


@pytest.mark.scenario("extensions#2")
@pytest.mark.parametrize(
    "then",
    [
        "time.sleep(60)",
        "while True: pass",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); signal.sigwait([40])",
        "os.read(os.pipe()[0], 1)",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "time.sleep(0.3); result(call, 'late'); time.sleep(60)",
        "while True: say(t='progress', id=call['id']); time.sleep(0.01)",
        "s.sendall(raw(b'x' * 50)[:20]); time.sleep(60)",
    ],
)
async def test_at_its_limit_a_call_ends_and_its_worker_is_dead(then: str) -> None:
    async with conversing(CALL + then) as conversation:
        outcome = await conversation.call(a_call(timeout_ms=150))
        assert (outcome.outcome, outcome.code) == ("timeout", "extension_timeout")
        assert outcome.reason == "it had not answered within its time"
        assert outcome.value is None
        assert outcome.signal == signal.SIGKILL
        assert outcome.exit_status is None
        assert outcome.timeout_ms == 150
        assert outcome.elapsed_ms is not None
        assert outcome.elapsed_ms >= 150
        assert outcome.cpu_ms is not None
        assert outcome.peak_memory_bytes is not None
        assert outcome.retryable
        assert conversation.process.exit is not None
        assert not conversation.reusable


async def test_an_answer_that_came_in_time_and_is_read_too_late_does_not_count() -> None:
    """EXT-21: from expiry on nothing that it sent counts."""
    async with conversing(CALL + "time.sleep(0.5); result(call, 'in time'); time.sleep(60)") as conversation:

        async def stall() -> None:
            await trio.sleep(0.02)
            time.sleep(1.5)  # noqa: ASYNC251 - the node is busy until long after both

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stall)
            outcome = await conversation.call(a_call(timeout_ms=1_000))
        assert (outcome.outcome, outcome.value) == ("timeout", None)


async def test_the_time_of_the_run_bounds_the_call() -> None:
    async with conversing(CALL + "time.sleep(60)") as conversation:
        outcome = await conversation.call(a_call(remaining_ms=50))
        assert outcome.code == "extension_timeout"
        assert outcome.reason == "the time of its run was over"


async def test_silence_is_bounded_and_progress_breaks_it() -> None:
    program = (
        CALL + "for n in range(8): say(t='progress', id=call['id']); time.sleep(0.05)\nresult(call)\n" + SERVE
    )
    async with conversing(program, timeouts={"silence_ms": 10_000}) as conversation:
        assert (await conversation.call(a_call())).outcome == "ok"
    async with conversing(CALL + "time.sleep(60)", timeouts={"silence_ms": 60}) as conversation:
        outcome = await conversation.call(a_call())
        assert outcome.code == "extension_timeout"
        assert outcome.reason == "it had said nothing for too long"


async def test_a_reaping_that_takes_too_long_is_concluded_without_figures(
    monkeypatch: pytest.MonkeyPatch, patient_reaping: None
) -> None:
    """EXT-21: null is what could not be measured in time."""
    monkeypatch.setattr("web4.extensions.conversation.conversation.REAPING", 0.25)

    def cannot_die(process: Any) -> None:
        process.kill = lambda reason: None

    async with conversing(CALL + "time.sleep(1.5)", before=cannot_die) as conversation:
        outcome = await conversation.call(a_call(timeout_ms=50))
        assert outcome.code == "extension_timeout"
        assert (outcome.signal, outcome.exit_status, outcome.cpu_ms) == (None, None, None)
        assert outcome.peak_memory_bytes is not None
        assert not conversation.reusable


@pytest.mark.scenario("extensions#6")
async def test_a_cancel_that_is_obeyed() -> None:
    patient = conversing(HEEDS, timeouts={"cancel_ms": 10_000})
    async with patient as conversation, trio.open_nursery() as nursery:
        call = a_call()

        async def cancel() -> None:
            await trio.sleep(0.02)
            assert not conversation.cancel("another", "no")
            assert conversation.cancel(call.call_id, "not needed")
            assert not conversation.cancel(call.call_id, "again")

        nursery.start_soon(cancel)
        outcome = await conversation.call(call)
        assert (outcome.outcome, outcome.code) == ("cancelled", "extension_cancelled")
        assert outcome.reason == "not needed"
        assert outcome.value is None
        assert outcome.side_effects is False
        assert outcome.exit_status is None
        assert conversation.reusable
        assert (await conversation.call(a_call(1))).value == 1


@pytest.mark.scenario("extensions#6")
@pytest.mark.parametrize(
    "then",
    [
        "time.sleep(60)",
        "while True: say(t='progress', id=call['id']); time.sleep(0.001)",
        "hear(); s.close(); time.sleep(60)",
        "hear(); s.sendall(b'\\xff' * 4); time.sleep(60)",
        "hear(); os._exit(0)",
        "hear()\nwhile True: s.sendall(raw({'t': 'ping', 'nonce': 1}) * 1000)",
    ],
)
async def test_a_cancel_that_is_ignored(then: str) -> None:
    async with conversing(CALL + then, timeouts={"cancel_ms": 50}) as conversation:
        call = a_call()
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                await trio.sleep(0.02)
                conversation.cancel(call.call_id, "not needed")

            nursery.start_soon(cancel)
            outcome = await conversation.call(call)
        assert (outcome.outcome, outcome.code) == ("cancelled", "extension_cancelled")
        assert outcome.side_effects is None
        assert conversation.process.exit is not None
        assert not conversation.reusable


async def test_a_tool_that_is_not_cancellable_may_finish() -> None:
    """EXT-19: no `cancel` is sent to it."""
    program = (
        CALL
        + "time.sleep(0.5); s.setblocking(False)\ntry: heard = s.recv(99)\nexcept BlockingIOError: heard = None\n"
    )
    program += "s.setblocking(True); result(call, heard, side_effects=heard is not None)\n" + SERVE
    patient = conversing(program, timeouts={"cancel_ms": 10_000})
    async with patient as conversation, trio.open_nursery() as nursery:
        call = a_call(cancellable=False)

        async def cancel() -> None:
            await trio.sleep(0.02)
            conversation.cancel(call.call_id, "not needed")

        nursery.start_soon(cancel)
        outcome = await conversation.call(call)
        assert outcome.outcome == "cancelled"
        assert outcome.side_effects is False
        assert conversation.reusable


@pytest.mark.parametrize(("program", "lives"), [(HEEDS, True), (CALL + "time.sleep(60)", False)])
async def test_a_caller_that_is_cancelled(program: str, lives: bool) -> None:
    """EXT-19: the same, under a shield, and then the cancellation goes on."""
    async with conversing(program, timeouts={"cancel_ms": 10_000 if lives else 200}) as conversation:
        with trio.move_on_after(0.05) as scope:
            await conversation.call(a_call())
        assert scope.cancelled_caught
        assert conversation.last is not None
        assert conversation.last.outcome == "cancelled"
        assert conversation.reusable is lives
        assert (conversation.process.exit is None) is lives
        assert conversation.open_call is None


async def test_a_caller_that_is_cancelled_amid_its_callbacks() -> None:
    """With a nursery open: a person is asked, progress is held back."""
    program = (
        CALL
        + """
say(t='progress', id=call['id']); say(t='progress', id=call['id'])
say(t='ui_request', id=call['id'], request_id='q', method='confirm', fields={})
time.sleep(60)
"""
    )
    async with conversing(program, ui=True) as conversation:
        asked = trio.Event()

        async def ask(question: UiQuestion) -> UiReply:
            asked.set()
            await trio.sleep_forever()
            raise AssertionError

        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.call, a_call(ask=ask, on_progress=lambda update: None))
            await asked.wait()
            nursery.cancel_scope.cancel()
        assert conversation.last is not None
        assert conversation.last.outcome == "cancelled"


async def test_failing_from_outside() -> None:
    """What a sampler or a pool decides counts at once."""
    async with conversing(CALL + "time.sleep(60)") as conversation, trio.open_nursery() as nursery:

        async def fail() -> None:
            await trio.sleep(0.02)
            conversation.fail("extension_disk_exceeded", "too much")
            conversation.fail("extension_cpu_exceeded", "too late")

        nursery.start_soon(fail)
        outcome = await conversation.call(a_call())
        assert (outcome.outcome, outcome.code, outcome.reason) == (
            "killed",
            "extension_disk_exceeded",
            "too much",
        )


@pytest.mark.scenario("extensions#4")
@pytest.mark.parametrize(
    ("then", "resources", "code"),
    [
        ("while True: pass", {"cpu_seconds": 1}, "extension_cpu_exceeded"),
        ("x = b'x' * (300 << 20); time.sleep(60)", {"memory_mb": 128}, "extension_memory_exceeded"),
        (
            "open(hello['tmp'] + '/f', 'wb').write(b'x' * (3 << 20)); time.sleep(60)",
            {"tmp_mb": 2},
            "extension_disk_exceeded",
        ),
        (
            "[open(hello['tmp'] + f'/{n}', 'wb').close() for n in range(600)]; time.sleep(60)",
            {"tmp_mb": 2},
            "extension_disk_exceeded",
        ),
    ],
)
async def test_what_a_call_uses_is_looked_at(then: str, resources: dict[str, int], code: str) -> None:
    """Section 6: by accounting while the call runs."""
    async with conversing(CALL + then, samples=True, resources=resources) as conversation:
        outcome = await conversation.call(a_call())
        assert (outcome.outcome, outcome.code) == ("killed", code)
        assert outcome.signal == signal.SIGKILL


async def test_processor_time_is_counted_per_call() -> None:
    """A worker that has used much in its life is not charged for it in the next call."""
    program = (
        START
        + """
while True:
    call = hear()
    end = time.process_time() + 0.3
    while time.process_time() < end: pass
    result(call)
"""
    )
    terms = Terms(manifest(resources={"cpu_seconds": 1}))
    async with conversing(program, samples=True, terms=terms) as conversation:
        for _ in range(4):
            outcome = await conversation.call(a_call())
            assert outcome.outcome == "ok"
            assert outcome.cpu_ms is not None
            assert 250 < outcome.cpu_ms < 1000
