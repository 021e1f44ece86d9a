"""Workers that break the protocol, flood, lie and die (EXT-3, EXT-15, EXT-21, EXT-24, EXT-27, EXT-28)."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.extensions.conversing import SERVE, START, a_call, conversing, manifest
from web4.extensions.progressing import MAX_DATA
from web4.extensions.terms import Terms

if TYPE_CHECKING:
    from web4.extensions.call import LogLine

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
        "say(t='result', id=call['id'], value=msgspec.msgpack.Ext(5, b''), **{'k' * 100000: 1})",
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


async def test_an_idle_flood_kills() -> None:
    program = CALL + "result(call)\nwhile True: os.write(1, b'x' * 65536)"
    async with conversing(program) as conversation:
        await conversation.call(a_call())
        await conversation.ended.wait()
        assert conversation.failure is not None
        assert "wrote more" in conversation.failure


async def test_too_many_late_frames_kill() -> None:
    program = CALL + "result(call)\nwhile True: result(call)"
    async with conversing(program, samples=True) as conversation:
        await conversation.call(a_call())
        await conversation.ended.wait()
        assert not conversation.reusable


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
    head = "b'\\x83\\xa1t\\xa6result\\xa2id' + msgspec.msgpack.encode(call['id']) + b'\\xa5value'"
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


@pytest.mark.parametrize("size", [1, 65_536, 4_000_000])
async def test_large_calls_to_a_worker_that_floods_while_it_reads_slowly(size: int) -> None:
    """Both directions full at once: neither side waits for the other for ever."""
    program = (
        START
        + """
import threading
def flood():
    for n in range(400):
        say(t="log", level="info", message="x" * 10000)
threading.Thread(target=flood).start()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
call = hear()
while threading.active_count() > 1: time.sleep(0.001)
result(call, call["arguments"])
"""
        + SERVE
    )
    async with conversing(program, resources={"output_bytes": 1 << 24}) as conversation:
        outcome = await conversation.call(a_call("y" * size))
        assert outcome.reason is None
        assert len(outcome.value) == size
        assert conversation.reusable


async def test_a_call_that_is_too_large_is_refused_before_a_byte_is_sent() -> None:
    async with conversing() as conversation:
        outcome = await conversation.call(a_call("y" * (4 << 20)))
        assert (outcome.outcome, outcome.code, outcome.side_effects) == ("refused", "extension_error", False)
        assert conversation.reusable
        assert (await conversation.call(a_call(1))).value == 1


@pytest.mark.scenario("extensions#4")
@pytest.mark.parametrize(
    "flood",
    [
        "while True: os.write(1, b'x' * 65536)",
        "while True: os.write(2, b'\\n' * 65536)",
        "while True: os.write(1, b'a line of it\\n' * 5000)",
        "while True: say(t='log', level='info', message='x' * 1000)",
        "while True: s.sendall(raw({'t': 'log', 'level': 'info', 'message': ''}) * 100)",
        "while True: s.sendall(raw({'t': 'progress', 'id': call['id'], 'data': 'x' * 100}) * 100)",
        "while True: say(t='progress', id=call['id'], data=[0] * 1000000)",
        "while True: s.sendall(raw({'t': 'pong', 'nonce': 1}) * 1000)",
    ],
)
async def test_a_flood_is_read_cut_and_ended(flood: str) -> None:
    """EXT-24: the code of its own, and other tasks go on meanwhile."""
    lines: list[LogLine] = []
    worst = 0.0

    async def beat() -> None:
        nonlocal worst
        while True:
            before = trio.current_time()
            await trio.sleep(0.001)
            worst = max(worst, trio.current_time() - before)

    async with conversing(CALL + flood, terms=Terms(manifest(), on_log=lines.append)) as conversation:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat)
            outcome = await conversation.call(a_call(on_progress=lambda update: None))
            nursery.cancel_scope.cancel()
        assert outcome.code == "extension_output_exceeded"
        assert outcome.signal == signal.SIGKILL
        assert len(lines) < 2500
        print(f"longest pause of another task: {worst * 1e3:.1f} ms")


async def test_a_flood_of_pings_that_reads_no_answer() -> None:
    program = CALL + "data = raw({'t': 'ping', 'nonce': 1}) * 1000\nwhile True: s.sendall(data)"
    async with conversing(program) as conversation:
        outcome = await conversation.call(a_call())
        assert outcome.code == "extension_output_exceeded"
        assert conversation.wire.waiting < 1 << 16


async def test_urgent_data_and_descriptors_on_the_socket_come_to_nothing() -> None:
    """Out-of-band bytes and passed descriptors are no frames, and leave nothing in the node."""
    program = (
        CALL
        + """
s.send(b"!", socket.MSG_OOB)
for n in range(50): socket.send_fds(s, [raw({"t": "log", "level": "info", "message": ""})], [0, 1, 2])
result(call, 1)
"""
    )
    async with conversing(program + SERVE) as conversation:
        before = len(os.listdir("/proc/self/fd"))
        outcome = await conversation.call(a_call(timeout_ms=3000))
        assert outcome.value == 1 or outcome.code in ("extension_protocol_error", "extension_timeout")
        assert len(os.listdir("/proc/self/fd")) <= before


async def test_questions_whose_answers_nobody_reads() -> None:
    ask = "{'t': 'ui_request', 'id': call['id'], 'request_id': 'r' * 100, 'method': 'confirm'}"
    program = CALL + f"data = raw({ask}) * 1000\nwhile True: s.sendall(data)"
    async with conversing(program, resources={"output_bytes": 1 << 26}, ui=True) as conversation:
        outcome = await conversation.call(a_call())
        assert outcome.code == "extension_protocol_error"
        assert outcome.reason == "it does not read its answers"


async def test_progress_comes_in_order_seldom_and_before_the_result() -> None:
    """EXT-17: of 2 000 updates the latest count, and the last is not lost."""
    program = (
        CALL
        + "for n in range(2000): say(t='progress', id=call['id'], fraction=n / 1999, data=n)\nresult(call, 'v')\n"
    )
    seen: list[Any] = []
    async with conversing(program + SERVE) as conversation:
        began = trio.current_time()
        outcome = await conversation.call(a_call(on_progress=seen.append))
        took = trio.current_time() - began
    assert outcome.value == "v"
    assert [one.data for one in seen] == sorted(one.data for one in seen)
    assert seen[0].data == 0
    assert seen[-1] == (outcome.call_id, None, 1.0, 1999)
    assert len(seen) <= 2 + took * 20 + 1


async def test_held_back_progress_goes_when_it_is_due() -> None:
    program = (
        CALL
        + "say(t='progress', id=call['id'], data=1); say(t='progress', id=call['id'], data=2)\ntime.sleep(60)"
    )
    seen: list[Any] = []
    two = trio.Event()

    def hear(update: Any) -> None:
        seen.append(update.data)
        if len(seen) == 2:
            two.set()

    async with conversing(program) as conversation, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: conversation.call(a_call(on_progress=hear)))
        await two.wait()
        assert seen == [1, 2]
        nursery.cancel_scope.cancel()


async def test_progress_is_bounded() -> None:
    program = (
        CALL
        + f"say(t='progress', id=call['id'], message='m' * 100000, fraction=7.5, data='x' * {MAX_DATA})\n"
    )
    program += "result(call)\n" + SERVE
    seen: list[Any] = []
    async with conversing(program) as conversation:
        await conversation.call(a_call(on_progress=seen.append))
    assert seen[0].data is None
    assert len(seen[0].message) == 4096
    assert seen[0].fraction == 1.0


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
