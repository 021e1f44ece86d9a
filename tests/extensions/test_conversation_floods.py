"""Floods in both directions, and progress that is too much (EXT-17, EXT-24)."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.extensions.conversing import SERVE, START, a_call, conversing, manifest
from web4.extensions.conversation.progressing import MAX_DATA
from web4.extensions.conversation.terms import Terms

if TYPE_CHECKING:
    from web4.extensions.conversation.call import LogLine


CALL = START + "call = hear()\n"


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
        "while True: say(t='progress', id=call['id'], data='x' * 1000000)",
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
