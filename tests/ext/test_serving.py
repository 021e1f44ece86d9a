"""The loop of a worker whose handlers are all plain, in a process of its own (EXT-14, EXT-15, EXT-43)."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.ext.driver import Driver, python_worker
from tests.ext.plain_source import EXTENSION
from web4.worker.frames import (
    Call,
    Cancel,
    Drain,
    Error,
    Hello,
    Log,
    Ping,
    Pong,
    Progress,
    Result,
    UiAnswer,
    UiRequest,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("plain")
    (directory / "extension.py").write_text(EXTENSION)
    return directory


@pytest.fixture(scope="module")
def shared(directory: Path) -> Iterator[Driver]:
    with python_worker(directory) as worker:
        worker.ready()
        yield worker


def test_ext_15_ready_names_what_there_is(directory: Path) -> None:
    with python_worker(directory) as worker:
        ready = worker.ready()
        assert (ready.protocol, ready.commands, ready.hooks) == (1, ["number"], ["tool_call"])
        assert ready.tools[:3] == ["types", "ids", "fail"]
        worker.socket.close()
        assert worker.ended() == (0, "", "")  # EOF: nobody is left to work for


def test_ext_43_arguments_come_in_the_types_of_the_annotations(shared: Driver) -> None:
    arguments = {
        "shape": {"type": "Shape", "points": [{"x": 1}]},
        "named": {"name": "n"},
        "raw": b"\xff",
        "when": "2026-01-02",
        "many": [3, 1],
    }
    value = shared.call("tool", "types", arguments)
    assert value == {
        "kinds": ["Shape", "Point", "dict", "bytes", "date", "set"],
        "when": "2026-01-02",
        "raw": b"\xff",
        "many": [1, 3],
    }
    for bad, said in (
        ({"when": "yesterday"}, r"\$\.when"),
        ({"more": 1}, "more"),
        ({"shape": {"type": "Shape", "points": [{"x": "1"}]}}, r"\$\.shape\.points\[0\]\.x"),
    ):
        error = shared.fail("tool", "types", arguments | bad)
        assert (error.code, error.side_effects) == ("arguments", False)
        assert re.search(said, error.message), error.message
    nothing: list[Any] = [[], None, "x", 3]
    for one in nothing:
        assert shared.fail("tool", "types", one).code == "arguments"


def test_ext_16_a_context_says_where_the_call_comes_from(shared: Driver) -> None:
    call_id = shared.start("tool", "ids", {}, deadline_ms=5_000, idempotency_key="k")
    value = shared.expect(Result).value
    assert 3 < value.pop("left") <= 5
    assert value == {
        "session": "s-1",
        "call": call_id,
        "tmp": "/tmp/w",
        "config": {"colour": "red"},
        "limits": {"memory_mb": 256},
        "key": "k",
        "cancelled": False,
    }


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("own", "no_ink", "the ink is out"),
        ("exit", "exit", "SystemExit: 3"),
        ("interrupt", "exit", "KeyboardInterrupt"),
        ("memory", "memory", "the memory did not suffice"),
        ("recursion", "exception", "RecursionError: maximum recursion depth exceeded"),
        ("unprintable", "exception", "Odd"),
        ("object", "result", "what it returned cannot be sent"),
        ("huge", "result", "its answer cannot be sent: 5242"),
        ("integer", "result", "its answer cannot be sent"),
        ("odd failure", "odd", "its data cannot be sent"),
        ("surrogate", "exception", "ValueError: half \\ud800"),
        ("cycle", "result", "what it returned cannot be sent"),
        ("wrong types", "7", "8"),
    ],
)
def test_ext_43_whatever_leaves_a_handler_is_an_error_and_the_worker_lives(
    shared: Driver, how: str, code: str, message: str
) -> None:
    error = shared.fail("tool", "fail", {"how": how})
    assert error.code == code
    assert error.message.startswith(message)
    if how == "own":
        assert (error.retryable, error.data, error.side_effects) == (True, {"left": 0}, False)
    assert shared.call("tool", "fail", {"how": "not at all"}) is None


def test_ext_43_a_traceback_is_trimmed_to_the_extension_and_shows_no_values(shared: Driver) -> None:
    error = shared.fail("tool", "fail", {"how": "deep"})
    assert error.message == "RuntimeError: on top"
    lines = error.data["traceback"]
    assert lines[0].startswith("extension.py:")
    assert lines[0].endswith('in fail: raise RuntimeError("on top") from error')
    assert lines[1] == "because of ValueError: the bottom"
    assert len(lines) == 2 + 8
    assert "hunter2" not in repr(error)
    assert len(shared.fail("tool", "fail", {"how": "long"}).message) == 4096


def test_ext_10_a_guard_that_says_nothing_has_not_allowed_anything(shared: Driver) -> None:
    assert shared.fail("hook", "tool_call", {"tool": "rm"}).code == "result"
    assert shared.fail("command", "number", {}).code == "result"
    error = shared.fail("tool", "no such tool", {})
    assert (error.code, error.side_effects) == ("unknown_operation", False)


def test_ext_43_print_goes_to_the_log_before_the_answer(directory: Path) -> None:
    with python_worker(directory) as worker:
        worker.ready()
        assert worker.call("tool", "prints", {}) is None
        worker.send(Drain())
        assert worker.ended() == (0, "a line\nhalf", "to the other\n")


def test_ext_17_progress_comes_in_order_and_before_the_result(shared: Driver) -> None:
    call_id = shared.start("tool", "steps", {"count": 100})
    frames = [shared.expect(Progress) for _ in range(100)]
    assert [one.message for one in frames] == [str(n) for n in range(100)]
    assert {one.id for one in frames} == {call_id}
    assert frames[0].fraction == 0.0  # what lies outside is moved to the end
    assert frames[0].data == "2026-01-01"  # no timestamp type on the wire (EXT-14)
    log = shared.expect(Log)
    assert (log.level, log.message, log.fields) == ("warning", "done", {"count": 100})
    assert shared.expect(Result).value == 100


def test_ext_19_a_plain_handler_sees_that_it_is_cancelled(shared: Driver) -> None:
    call_id = shared.start("tool", "until_cancelled", {})
    shared.expect(Progress)
    shared.send(Cancel(id="another", reason="not this"))
    shared.send(Ping(nonce=7))  # answered by a handler that polls
    assert shared.expect(Pong).nonce == 7
    shared.send(Cancel(id=call_id, reason="enough"))
    error = shared.expect(Error)
    assert (error.id, error.code, error.side_effects) == (call_id, "cancelled", False)
    shared.send(Cancel(id=call_id, reason="too late"))
    shared.send(UiAnswer(request_id="1", outcome="answered", value=True))
    assert shared.call("tool", "fail", {"how": "not at all"}) is None


def test_ext_19_a_call_that_is_cancelled_before_it_begins_does_not_begin(shared: Driver) -> None:
    first = shared.start("tool", "until_cancelled", {})
    shared.expect(Progress)
    second = shared.start("tool", "until_cancelled", {})
    shared.send(Cancel(id=second, reason="never mind"))
    shared.send(Cancel(id=first, reason="enough"))
    assert shared.expect(Error).id == first
    error = shared.expect(Error)
    assert (error.id, error.code, error.side_effects) == (second, "cancelled", False)


def test_ext_18_questions_are_sent_at_once_and_answered_in_any_order(shared: Driver) -> None:
    call_id = shared.start("tool", "questions", {})
    first, second = shared.expect(UiRequest), shared.expect(UiRequest)
    assert (first.id, first.method, first.fields) == (
        call_id,
        "confirm",
        {"title": "Sure?", "message": "Really?", "timeout": 100},
    )
    assert (second.method, second.fields) == ("select", {"title": "Which?", "options": ["a", "b"]})
    shared.send(UiAnswer(request_id="unknown", outcome="answered", value=1))
    shared.send(UiAnswer(request_id=first.request_id, outcome="answered", value=False))
    shared.send(UiAnswer(request_id=second.request_id, outcome="answered", value="b"))
    third = shared.expect(UiRequest)
    assert third.fields == {"title": "Name?", "placeholder": "you"}
    shared.send(UiAnswer(request_id=third.request_id, outcome="timed_out", value="made up"))
    never = shared.expect(UiRequest)
    value = shared.expect(Result).value
    assert value == [["answered", "b", True], ["answered", False, False], ["timed_out", None, False]]
    shared.send(
        UiAnswer(request_id=never.request_id, outcome="answered", value=True)
    )  # nobody waits: no harm


def test_ext_19_a_question_ends_when_its_call_is_cancelled(shared: Driver) -> None:
    call_id = shared.start("tool", "questions", {})
    shared.expect(UiRequest)
    shared.expect(UiRequest)
    shared.send(Cancel(id=call_id, reason="enough"))
    assert shared.expect(Error).code == "cancelled"


def test_ext_14_frames_of_many_threads_do_not_mix(shared: Driver) -> None:
    shared.start("tool", "from_threads", {})
    seen = 0
    asked = 0
    while True:
        frame = shared.receive()
        if isinstance(frame, Result):
            break
        if isinstance(frame, Progress):
            assert frame.message == "x" * 5000
            seen += 1
        else:
            assert isinstance(frame, UiRequest)
            asked += 1
    assert (seen, asked, frame.value) == (200, 4, 4)


def test_ext_14_what_the_protocol_has_no_word_for_is_the_handlers_mistake(shared: Driver) -> None:
    said = shared.call("tool", "bad_words", {})
    assert len(said) == 3
    assert "object" in said[0]
    assert "frame" in said[1]


def test_ext_15_no_type_that_a_handler_gets_wrong_breaks_the_protocol(shared: Driver) -> None:
    shared.start("tool", "odd_words", {})
    progress = shared.expect(Progress)
    assert (progress.message, progress.fraction, progress.data) == ("7", 0.0, {"3": "2026-01-01"})
    assert shared.expect(Log).message == "8"
    assert shared.expect(Log).message == "half \\ud800"
    assert "loud" in shared.expect(Log).message
    assert "surrogate" in shared.expect(Log).message
    assert shared.expect(Result).side_effects is True


def test_ext_3_what_is_said_after_the_end_of_a_call_is_not_sent(shared: Driver) -> None:
    assert shared.call("tool", "late", {}) is None
    shared.start("tool", "late", {})
    assert shared.expect(Log).message == "the call has ended"
    shared.expect(Result)


@pytest.mark.parametrize(("how", "status"), [("return", 0), ("exit", 3), ("raise", 1), ("speak", 0)])
def test_ext_2_a_process_that_a_handler_forks_has_no_part_in_the_conversation(
    directory: Path, how: str, status: int
) -> None:
    with python_worker(directory) as worker:
        worker.ready()
        for _ in range(3):
            assert worker.call("tool", "fork", {"how": how}) == status
        assert worker.call("tool", "fail", {"how": "not at all"}) is None
        worker.send(Drain())
        with pytest.raises(EOFError):
            worker.receive()


def test_ext_15_ping_drain_and_calls_behind_it(directory: Path) -> None:
    with python_worker(directory) as worker:
        worker.ready()
        worker.send(Ping(nonce=1))
        assert worker.expect(Pong).nonce == 1
        first = worker.start("tool", "until_cancelled", {})
        worker.expect(Progress)
        worker.start("tool", "ids", {})
        worker.send(Drain())
        worker.start("tool", "ids", {})  # behind the drain: not taken
        worker.send(Cancel(id=first, reason="enough"))
        worker.expect(Error)
        worker.expect(Result)
        with pytest.raises(EOFError):
            worker.receive()
        assert worker.ended()[0] == 0


def test_ext_14_bytes_come_in_any_pieces(shared: Driver) -> None:
    def call(number: int) -> bytes:
        frame = Call(
            id=f"piece-{number}", kind="tool", name="fail", arguments={"how": "x" * 300}, deadline_ms=1_000
        )
        return bytes(encode(frame))

    data = b"".join(call(n) for n in range(3))
    for piece in [data[:1], data[1:3], data[3:4], data[4:5], data[5:-1], data[-1:]]:
        shared.raw(piece)
        time.sleep(0.005)
    assert [shared.expect(Result).id for _ in range(3)] == ["piece-0", "piece-1", "piece-2"]
    large = {"how": "y" * (3 << 20)}
    assert shared.call("tool", "fail", large) is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\0\0\0\0", "0 bytes"),
        (b"\xff\xff\xff\xff", "4294967295"),
        (b"\0\0\0\x03abc", "object"),
        (bytes(encode(Progress(id="x"))), "progress"),
        (b"\0\0\0\x03\xd6\x00\x00", ""),
    ],
)
def test_ext_15_a_node_that_breaks_the_protocol_is_left(directory: Path, data: bytes, said: str) -> None:
    with python_worker(directory) as worker:
        worker.ready()
        worker.raw(data)
        status, _, err = worker.ended()
        assert status == 2
        assert err.startswith("web4: the node broke the protocol")
        assert said in err


def test_ext_15_a_second_hello_and_a_first_frame_that_is_none(directory: Path) -> None:
    with python_worker(directory) as worker:
        worker.ready()
        worker.send(Hello(protocol=1, extension="a", version="1", worker_id="w", generation=1))
        assert worker.ended()[0] == 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("x = 3", "AttributeError: module 'extension' has no attribute 'ext'"),
        ("ext = 3", "no Extension but of type int"),
        ("def (", "SyntaxError"),
        ("raise SystemExit(7)", "SystemExit: 7"),
        ('from web4.ext import Extension\next = Extension("acme.other")', "acme.other"),
        (
            'from web4.ext import Extension\next = Extension("acme.test")\n@ext.tool\ndef a(x: "No"): "A."',
            "annotations do not resolve",
        ),
    ],
)
def test_ext_43_an_extension_that_does_not_load_says_why_and_ends(
    tmp_path: Path, source: str, said: str
) -> None:
    (tmp_path / "extension.py").write_text(source)
    with python_worker(tmp_path) as worker:
        with pytest.raises(EOFError):
            worker.receive()
        status, _, err = worker.ended()
        assert status == 1
        assert err.startswith("web4: the extension does not load\n")
        assert said in err
        assert len(err) < 2_000


def test_ext_15_another_protocol_is_refused_at_the_first_frame(directory: Path) -> None:
    hello: dict[str, Any] = {"protocol": 2}
    with python_worker(directory, **hello) as worker:
        status, _, err = worker.ended()
        assert status == 1
        assert "protocol 2" in err
