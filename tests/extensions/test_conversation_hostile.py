"""Workers that break the protocol, flood, lie and die (EXT-3, EXT-15, EXT-21, EXT-24, EXT-27, EXT-28)."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.extensions.conversing import SERVE, START, a_call, conversing, manifest
from web4.extensions.conversation.terms import Terms

if TYPE_CHECKING:
    from web4.extensions.conversation.call import LogLine


CALL = START + "call = hear()\n"


@pytest.mark.scenario("extensions#5")
@pytest.mark.parametrize(
    ("then", "words"),
    [
        (
            "s.sendall(b'\\x00\\x40\\x00\\x01'); time.sleep(60)",
            "limit",
        ),  # one byte over 4 MiB, nothing of it sent
        ("s.sendall(b'\\xff\\xff\\xff\\xff'); time.sleep(60)", "limit"),
        ("s.sendall(b'\\x00\\x00\\x00\\x00'); time.sleep(60)", "0 bytes"),
        ("say(t='nothing', id=call['id']); time.sleep(60)", "nothing"),
        (
            "say(t='call', id='x', kind='tool', name='echo', arguments=1, deadline_ms=1); time.sleep(60)",
            "call",
        ),
        ("say(id=call['id'], value=1); time.sleep(60)", "t"),
        ("s.sendall(raw(b'\\x93\\x01\\x02\\x03')); time.sleep(60)", "object"),
        ("s.sendall(raw(b'\\x81')); time.sleep(60)", "truncated"),
        ("s.sendall(raw(b'\\xc1')); time.sleep(60)", ""),
        ("s.sendall(raw(b'\\xd9\\x04\\xff\\xff\\xff\\xff')); time.sleep(60)", ""),
        ("say(t='result', id='never', value=1); time.sleep(60)", "never opened"),
        ("say(t='progress', id='never'); time.sleep(60)", "never opened"),
        ("say(t='result', id=call['id']); time.sleep(60)", "value"),
        ("say(t='result', id=7, value=1); time.sleep(60)", "id"),
        ("say(t='error', id=call['id'], code=1, message=''); time.sleep(60)", "code"),
        ("say(t='emit', id=call['id'], event_type='x'); time.sleep(60)", "emits nothing"),
        ("say(t='log', level='shout', message=''); time.sleep(60)", "level|shout"),
        ("s.sendall(raw(b'\\x91' * 100000 + b'\\xc0')); time.sleep(60)", ""),
        ("ready(); time.sleep(60)", "second ready"),
        ("s.close(); time.sleep(60)", "closed its socket"),
        ("s.shutdown(socket.SHUT_WR); time.sleep(60)", "closed its socket"),
        ("s.sendall(raw(b'x' * 50)[:20]); s.close(); time.sleep(60)", "closed its socket"),
    ],
)
async def test_what_is_no_conversation_kills(then: str, words: str) -> None:
    async with conversing(CALL + then) as conversation:
        outcome = await conversation.call(a_call())
        assert outcome.code == "extension_protocol_error"
        assert outcome.signal == signal.SIGKILL
        assert outcome.reason is not None
        assert any(word in outcome.reason for word in words.split("|"))
        assert conversation.process.exit is not None
        assert not conversation.reusable


@pytest.mark.parametrize(
    "then",
    [
        "say(t='password=hunter2' + 'x' * 100000)",
        "say(t='log', message='', level='password=hunter2' + 'x' * 100000)",
    ],
)
async def test_what_is_said_of_a_violation_is_bounded_and_redacted(then: str) -> None:
    async with conversing(CALL + then + "; time.sleep(60)") as conversation:
        outcome = await conversation.call(a_call())
        assert outcome.outcome != "ok"
        assert outcome.reason is not None
        assert len(outcome.reason) < 400
        assert "hunter2" not in outcome.reason


@pytest.mark.scenario("extensions#5")
async def test_of_two_results_the_first_counts_and_the_worker_takes_no_other_call() -> None:
    events: list[dict[str, Any]] = []
    terms = Terms(manifest(), emit=lambda kind, /, **fields: events.append({"type": kind} | fields))
    program = CALL + "s.sendall(raw({'t': 'result', 'id': call['id'], 'value': 1}) * 2); time.sleep(60)"
    async with conversing(program, terms=terms) as conversation:
        outcome = await conversation.call(a_call())
        assert (outcome.outcome, outcome.value) == ("ok", 1)
        assert conversation.discarded == 1
        assert not conversation.reusable
        assert [(one["type"], one["discarded"]) for one in events] == [("worker_discarded_frame", 1)]


@pytest.mark.scenario("extensions#5")
async def test_a_result_for_the_call_before_is_never_this_ones() -> None:
    program = (
        CALL
        + "result(call, 1); before = call; call = hear(); result(before, 'late'); result(call, 2)\n"
        + SERVE
    )
    async with conversing(program) as conversation:
        assert (await conversation.call(a_call())).value == 1
        assert (await conversation.call(a_call())).value == 2
        assert conversation.discarded == 1
        assert not conversation.reusable


async def test_an_idle_worker_is_attended_to() -> None:
    """Late answers, pings and log of a worker without a call are found; it never blocks on them."""
    lines: list[LogLine] = []
    program = (
        CALL + "result(call)\nfor n in range(20000): say(t='log', level='info', message='x' * 100)\n" + SERVE
    )
    async with conversing(program, terms=Terms(manifest(), on_log=lines.append)) as conversation:
        await conversation.call(a_call())
        while len(lines) < 900:
            await trio.sleep(0.001)
            conversation.attend()
        assert conversation.reusable


async def test_an_idle_worker_that_answers_again_is_found_out() -> None:
    program = (
        CALL + "result(call); time.sleep(0.05); result(call); say(t='result', id='never', value=1)\n" + SERVE
    )
    async with conversing(program, samples=True) as conversation:
        await conversation.call(a_call())
        await conversation.ended.wait()
        assert conversation.discarded == 1
        assert conversation.failure == "an id that was never opened"


@pytest.mark.parametrize(
    "value",
    [
        "b'\\xd4\\x05\\x00'",  # an extension type
        "b'\\xd6\\xff\\x00\\x00\\x00\\x00'",  # a timestamp
        "b'\\xcb\\x7f\\xf8\\x00\\x00\\x00\\x00\\x00\\x00'",  # not a number
        "b'\\xca\\x7f\\x80\\x00\\x00'",  # infinity
        "b'\\x81\\x01\\x02'",  # a key that is a number
        "b'\\x81\\xc4\\x01k\\x02'",  # a key that is bytes
        "b'\\x81\\x90\\x02'",  # a key that is a list
        "b'\\xa2\\xff\\xfe'",  # no UTF-8
        "b'\\x91' * 65 + b'\\xc0'",
        "b'\\x91' * 200 + b'\\xc0'",
        "b'\\x81\\xa1a' * 65 + b'\\xc0'",
        "b'\\x92\\x01\\x91\\x81\\xa1a\\xd6\\xff\\x00\\x00\\x00\\x00'",
    ],
)
async def test_what_is_no_value_is_an_invalid_result_and_the_worker_lives(value: str) -> None:
    """EXT-14: only values that JSON has, and bytes."""
    head = "b'\\x83\\xa1t\\xa6result\\xa2id' + pack(call['id']) + b'\\xa5value'"
    async with conversing(f"{CALL}s.sendall(raw({head} + {value}))\n{SERVE}") as conversation:
        outcome = await conversation.call(a_call())
        assert outcome.code == "extension_invalid_result"
        assert outcome.outcome == "error"
        assert conversation.reusable
        assert (await conversation.call(a_call(1))).value == 1


async def test_values_at_their_bounds() -> None:
    deep: Any = None
    for _ in range(64):
        deep = [deep]
    async with conversing() as conversation:
        values: list[Any] = [deep, 2**64 - 1, -(2**63), 1.7e308, "", b"", [], {}, {"": [{}]}]
        for value in values:
            assert (await conversation.call(a_call(value))).value == value


@pytest.mark.parametrize(
    ("then", "code", "status", "number"),
    [
        ("os._exit(0)", "extension_crashed", 0, None),
        ("os._exit(7)", "extension_crashed", 7, None),
        ("os.kill(os.getpid(), 11)", "extension_crashed", None, 11),
        ("os.abort()", "extension_crashed", None, 6),
        ("os.kill(os.getpid(), 9)", "extension_crashed", None, 9),
        ("os.kill(os.getpid(), signal.SIGXFSZ)", "extension_disk_exceeded", None, signal.SIGXFSZ),
        ("os.kill(os.getpid(), signal.SIGXCPU)", "extension_cpu_exceeded", None, signal.SIGXCPU),
        ("say(t='progress', id=call['id']); os._exit(3)", "extension_crashed", 3, None),
        ("s.sendall(raw(b'x' * 50)[:20]); os._exit(4)", "extension_crashed", 4, None),
    ],
)
async def test_a_crash_is_told_by_its_status_or_signal(
    then: str, code: str, status: int | None, number: int | None
) -> None:
    """EXT-28."""
    if number == signal.SIGXFSZ:
        then = f"signal.signal(signal.SIGXFSZ, signal.SIG_DFL); {then}"
    async with conversing(CALL + f"print('last words', file=sys.stderr, flush=True); {then}") as conversation:
        outcome = await conversation.call(a_call())
        assert outcome.code == code
        assert (outcome.exit_status, outcome.signal) == (status, number)
        assert outcome.stderr == "last words\n"
        assert outcome.cpu_ms is not None
        assert outcome.peak_memory_bytes is not None


async def test_an_out_of_memory_kill_is_told_by_the_kernels_count() -> None:
    def kernel_says_so(process: Any) -> None:
        process.oom = True

    async with conversing(CALL + "os.kill(os.getpid(), 9)", before=kernel_says_so) as conversation:
        outcome = await conversation.call(a_call())
        assert (outcome.outcome, outcome.code) == ("killed", "extension_memory_exceeded")


@pytest.mark.parametrize(
    ("memory", "code"), [("rlimit", "extension_memory_exceeded"), ("cgroup", "extension_crashed")]
)
async def test_a_limit_on_the_address_space_is_told_by_what_the_program_said(memory: str, code: str) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))\n"
    async with conversing(CALL + limited + "x = bytearray(1 << 30)", memory=memory) as conversation:
        outcome = await conversation.call(a_call())
        assert outcome.code == code
        assert outcome.stderr is not None
        assert outcome.stderr.rstrip().endswith("MemoryError")


async def test_the_sdks_error_for_memory_retires_the_worker() -> None:
    program = CALL + "say(t='error', id=call['id'], code='memory', message='')\n" + SERVE
    async with conversing(program, memory="rlimit") as conversation:
        assert (await conversation.call(a_call())).code == "extension_memory_exceeded"
        assert not conversation.reusable


async def test_a_worker_that_died_before_it_took_the_call_is_lost() -> None:
    """EXT-23: proven by what the socket says, so another worker may be given the call."""
    async with conversing(START + "time.sleep(60)") as conversation:
        os.kill(conversation.process.pid, signal.SIGKILL)
        outcome = await conversation.call(a_call())
        assert (outcome.code, outcome.outcome, outcome.retryable) == ("worker_lost", "crashed", True)
        again = await conversation.call(a_call())
        assert again.code == "worker_lost"


async def test_a_worker_that_took_the_call_and_died_is_not_lost() -> None:
    async with conversing(CALL + "os._exit(1)") as conversation:
        outcome = await conversation.call(a_call())
        assert (outcome.code, outcome.retryable) == ("extension_crashed", False)


async def test_answers_in_pieces_of_one_byte() -> None:
    program = (
        CALL
        + "data = raw({'t': 'result', 'id': call['id'], 'value': 'v' * 200})\nfor b in data: s.send(bytes([b]))"
    )
    async with conversing(program) as conversation:
        assert (await conversation.call(a_call())).value == "v" * 200


async def test_output_schemas_hold_values() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    async with conversing(tool={"output_schema": schema}) as conversation:
        assert (await conversation.call(a_call({"n": 1}))).outcome == "ok"
        outcome = await conversation.call(a_call({"n": "secret"}))
        assert outcome.code == "extension_invalid_result"
        assert outcome.reason == "the value does not fit its schema: n breaks properties/n/type"
        assert outcome.value is None
        assert conversation.reusable


async def test_an_extensions_own_error() -> None:
    program = (
        CALL
        + """
say(t='error', id=call['id'], code='no_hits', message='none, token=abcdefgh', retryable=True, data={'n': 1},
    side_effects=False)
"""
    )
    async with conversing(program + SERVE) as conversation:
        outcome = await conversation.call(a_call())
        assert (outcome.outcome, outcome.code) == ("error", "extension_error")
        assert outcome.reason == "no_hits: none, token=[redacted]"
        assert outcome.retryable
        assert outcome.data == {"n": 1}
        assert outcome.side_effects is False
        assert conversation.reusable
