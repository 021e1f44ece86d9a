"""A worker that behaves: hello, ready, calls, drain, and every field of an outcome (EXT-15, EXT-26)."""

from __future__ import annotations

from textwrap import dedent

import msgspec
import pytest
import trio
import trio.testing

from tests.extensions.conversing import SERVE, START, a_call, conversing, manifest
from web4.extensions.conversation.terms import Terms
from web4.extensions.errors import WorkerStartError
from web4.extensions.outcome import CallOutcome


async def test_a_call_is_answered_with_every_field_of_the_envelope() -> None:
    async with conversing() as conversation:
        assert conversation.reusable
        outcome = await conversation.call(a_call({"a": [1, 2.5, None, True, "ü", b"\x00"]}, queue_ms=3.5))
        assert outcome == conversation.last
        assert outcome.outcome == "ok"
        assert outcome.code is None
        assert outcome.value == {"a": [1, 2.5, None, True, "ü", b"\x00"]}
        given = msgspec.to_builtins(outcome)
        nulls = {name for name, value in given.items() if value is None}
        assert nulls == {"code", "reason", "exit_status", "signal", "side_effects", "data", "stderr"}
        assert given["operation"] == "tool:echo"
        assert given["sandbox"] == "none"
        assert given["timeout_ms"] == 15_000
        assert given["queue_ms"] == 3.5
        assert given["isolated"] is True
        assert set(given) == set(CallOutcome.__struct_fields__)
        assert conversation.reusable


async def test_many_calls_of_one_worker() -> None:
    async with conversing() as conversation:
        for number in range(200):
            assert (await conversation.call(a_call(number))).value == number
        assert conversation.calls == conversation.process.calls == 200
        assert conversation.usage is not None
        assert conversation.usage.cpu_ns is not None


async def test_the_worker_is_told_who_it_is() -> None:
    program = """
    hello = hear()
    ready()
    call = hear()
    result(call, [hello, call])
    """
    terms = Terms(manifest(), generation=7, config={"k": "v"})
    async with conversing(program, terms=terms) as conversation:
        call = a_call("x", idempotency_key="key")
        outcome = await conversation.call(call)
        hello, heard = outcome.value
        assert hello["t"] == "hello"
        assert hello["generation"] == 7
        assert hello["config"] == {"k": "v"}
        assert hello["tmp"] == conversation.process.tmp
        assert hello["limits"]["memory_mb"] == 256
        assert heard["id"] == call.call_id
        assert heard["idempotency_key"] == "key"
        assert 14_000 < heard["deadline_ms"] <= 15_000


async def test_draining_lets_it_end_by_itself() -> None:
    async with conversing() as conversation:
        await conversation.drain()
        assert conversation.process.exit is not None
        assert conversation.process.exit.status == 0
        assert not conversation.reusable


async def test_a_worker_that_does_not_drain_is_killed() -> None:
    async with conversing(START + "time.sleep(60)", timeouts={"drain_ms": 50}) as conversation:
        await conversation.drain()
        assert conversation.process.exit is not None
        assert conversation.process.exit.signal == 9


async def test_two_calls_of_one_id_do_not_take_each_others_answers() -> None:
    """EXT-3: an id that a caller gives twice, as a retry does, is told apart in the worker."""
    program = """
    first = hear()
    result(first, "first")
    second = hear()
    result(first, "late")
    result(second, second["id"] != first["id"])
    """
    async with conversing(START + dedent(program)) as conversation:
        call = a_call()
        assert (await conversation.call(call)).value == "first"
        outcome = await conversation.call(call)
        assert (outcome.value, outcome.call_id) == (True, call.call_id)
        assert conversation.discarded == 1
        assert not conversation.reusable


async def test_a_worker_has_one_call_at_a_time() -> None:
    async with conversing(START + "time.sleep(60)") as conversation, trio.open_nursery() as nursery:
        nursery.start_soon(conversation.call, a_call())
        await trio.testing.wait_all_tasks_blocked()
        assert conversation.open_call is not None
        with pytest.raises(RuntimeError):
            await conversation.call(a_call())
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("time.sleep(60)", "extension_start_timeout", "not ready"),
        ("raise SystemExit(3)", "extension_start_failed", "status 3"),
        ("os.kill(os.getpid(), 11)", "extension_start_failed", "SIGSEGV"),
        ("1 / 0", "extension_start_failed", "ZeroDivisionError"),
        ("hear(); ready(protocol=2)", "extension_protocol_error", "protocol 2"),
        ("hear(); ready(tools=[])", "extension_protocol_error", "tools are not the manifest's: echo"),
        ("hear(); ready(tools=['echo', 'echo'])", "extension_protocol_error", "tools"),
        ("hear(); ready(hooks=['input'])", "extension_protocol_error", "hooks"),
        ("hear(); say(t='result', id='x', value=1)", "extension_protocol_error", "before it was ready"),
        ("hear(); s.sendall(b'\\xff' * 4); time.sleep(60)", "extension_protocol_error", "limit"),
        ("hear(); s.close(); time.sleep(60)", "extension_start_failed", "closed its socket"),
        ("while True: print('x' * 65536)", "extension_start_failed", "wrote more"),
        (
            "while True: say(t='log', level='info', message='x' * 65536)",
            "extension_start_failed",
            "wrote more",
        ),
    ],
)
async def test_a_start_that_fails(program: str, code: str, words: str) -> None:
    """EXT-15, EXT-27: the error and the envelope say the same, and nothing lives."""
    timeouts = {"startup_ms": 300 if code == "extension_start_timeout" else 15_000}
    async with conversing(program, greets=False, timeouts=timeouts) as conversation:
        with pytest.raises(WorkerStartError, match=words) as caught:
            await conversation.greet()
        assert caught.value.code == code
        assert conversation.last is not None
        assert conversation.last.code == code
        assert conversation.last.operation == "start"
        assert conversation.process.exit is not None
        assert not conversation.reusable


async def test_a_second_ready_kills() -> None:
    async with conversing(START + "ready()\n" + SERVE) as conversation:
        outcome = await conversation.call(a_call())
        assert outcome.code == "extension_protocol_error"
        assert conversation.process.exit is not None
