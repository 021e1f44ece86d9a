"""The control socket, on real Unix sockets: envelope, bounds, permissions, lock (NDJ-4 to NDJ-17, NDJ-25)."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from web4.doors.control import (
    Caller,
    CommandFailed,
    CommandSet,
    ControlError,
    ControlLimits,
    open_control,
    open_control_door,
)
from web4.doors.control import door as control_door
from web4.doors.control.wire import refused
from web4.foundation.events import no_events
from web4.trust import TrustViolationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path


class Twice(msgspec.Struct, frozen=True):
    """Payload of `twice`."""

    number: int


async def twice(asked: Twice, caller: Caller) -> Mapping[str, Any]:
    if asked.number == 13:
        raise refused("command_rejected: unlucky", code="command_rejected")
    if asked.number == 14:
        raise TrustViolationError("not now", code="gate")
    if asked.number == 15:
        raise ZeroDivisionError("a secret")
    if asked.number == 16:
        await trio.sleep_forever()
    await trio.lowlevel.checkpoint()
    return {"number": 2 * asked.number, "who": caller.principal, "operator": caller.operator}


Events = list[tuple[str, dict[str, Any]]]


@asynccontextmanager
async def door(tmp_path: Path, **limits: Any) -> AsyncIterator[tuple[Path, Events]]:
    """A door with one command, and the events that it emits."""
    commands, events = CommandSet(), []
    commands.add("twice", Twice, twice, answers="doubled")
    path = tmp_path / "run" / "node.sock"

    def emit(kind: str, /, **fields: Any) -> None:
        events.append((kind, fields))

    async with open_control_door(
        path, commands, emit=emit, limits=ControlLimits(**limits), about={"fingerprint": "ab" * 32}
    ):
        yield path, events


async def raw(path: Path, *lines: bytes) -> list[dict[str, Any]]:
    """Send lines as they are, and read as many answers."""
    stream = await trio.open_unix_socket(str(path))
    async with stream:
        await stream.send_all(b"".join(lines))
        data = b""
        while data.count(b"\n") < len(lines):
            piece = await stream.receive_some()
            if not piece:
                break
            data += piece
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


async def test_a_command_is_answered(tmp_path: Path) -> None:
    """NDJ-12, NDJ-14: the id is echoed, keys stand in the order of the specification."""
    async with door(tmp_path) as (path, _):
        (answer,) = await raw(path, b'{"id":"x","type":"twice","payload":{"number":4,"new":1}}\n')
        assert list(answer) == ["v", "id", "type", "payload", "ok", "ts"]
        assert (answer["v"], answer["id"], answer["type"], answer["ok"]) == ("1", "x", "doubled", True)
        assert answer["payload"] == {"number": 8, "who": f"uid:{os.geteuid()}", "operator": True}
        async with open_control(path) as control:
            assert await control.ask("ping") == {"message": "pong"}
            assert (await control.ask("twice", {"number": 21}))["number"] == 42
            hello = await control.ask("hello")
    assert hello["commands"] == ["hello", "ping", "twice"]
    assert (hello["protocol"], hello["fingerprint"]) == ("1", "ab" * 32)


@pytest.mark.parametrize(
    ("line", "code", "message", "identifier"),
    [
        (b"{", "invalid_command", "invalid_json", ""),
        (b"[1]", "invalid_command", "invalid_json: a command is an object", ""),
        (b'\xff{"id":"x"}', "invalid_command", "invalid_json", ""),
        (b'{"v":"2","id":"x","type":"ping"}', "invalid_command", "invalid_version: expected 1, got 2", "x"),
        (b'{"type":"ping"}', "invalid_command", "missing_id", ""),
        (b'{"id":"","type":"ping"}', "invalid_command", "missing_id", ""),
        (b'{"id":"x"}', "invalid_command", "missing_type", "x"),
        (b'{"id":"x","type":"prompt"}', "invalid_command", "invalid_command: prompt", "x"),
        (b'{"id":"x","type":"ping","payload":[]}', "invalid_payload", "payload must be an object", "x"),
        (b'{"id":"x","type":"twice"}', "invalid_payload", "number is required", "x"),
        (b'{"id":"x","type":"twice","payload":{"number":"1"}}', "invalid_payload", "number must be", "x"),
        (b'{"id":"x","type":"twice","payload":{"number":13}}', "command_rejected", "unlucky", "x"),
        (b'{"id":"x","type":"twice","payload":{"number":15}}', "internal_error", "unexpectedly", "x"),
        (b'{"id":"' + b"y" * 300 + b'","type":5}', "invalid_command", "missing_type", ""),
        (b"[" * 100_000, "invalid_command", "invalid_json", ""),
    ],
)
async def test_what_is_refused(tmp_path: Path, line: bytes, code: str, message: str, identifier: str) -> None:
    """NDJ-16, NDJ-18: exactly one answer, and the connection stays open."""
    async with door(tmp_path) as (path, _):
        refusal, after = await raw(path, line + b"\n", b'{"id":"z","type":"ping"}\n')
    assert (refusal["ok"], refusal["type"], refusal["payload"]) == (False, "error", {})
    assert (refusal["error"]["code"], refusal["id"]) == (code, identifier)
    assert message in refusal["error"]["message"]
    assert "secret" not in json.dumps(refusal)
    assert after["type"] == "pong"


async def test_a_rooms_refusal_keeps_its_code(tmp_path: Path) -> None:
    """The cause names class and stable code, so that the command line exits as it should."""
    async with door(tmp_path) as (path, events), open_control(path) as control:
        with pytest.raises(CommandFailed) as caught:
            await control.ask("twice", {"number": 14})
        assert (caught.value.error, caught.value.cause) == ("command_rejected", "TrustViolationError: gate")
        with pytest.raises(CommandFailed):
            await control.ask("twice", {"number": 15})
    assert [(kind, fields["error"]) for kind, fields in events] == [("error", "ZeroDivisionError")]


async def test_lines_end_at_one_byte_only(tmp_path: Path) -> None:
    """NDJ-11: U+2028, U+0085 and CR are data; blank lines are ignored; a line may come byte by byte."""
    line = '{"id":"a\u2028\u0085","type":"ping"}\r\n\n  \n'.encode()
    async with door(tmp_path) as (path, _):
        stream = await trio.open_unix_socket(str(path))
        async with stream:
            for byte in line:
                await stream.send_all(bytes([byte]))
            answer = json.loads(await stream.receive_some())
    assert answer["id"] == "a\u2028\u0085"


async def test_long_lines(tmp_path: Path) -> None:
    """NDJ-17: the limit is served, one byte more is refused at its newline, eight times more ends the connection."""
    limit = 4_096
    async with door(tmp_path, line_bytes=limit) as (path, _):
        fits = b'{"id":"x","type":"ping"}'.ljust(limit)
        good, bad, after = await raw(path, fits + b"\n", fits + b" \n", b'{"id":"z","type":"ping"}\n')
        assert good["ok"]
        assert bad["error"]["message"] == f"line_too_long: limit {limit}"
        assert after["ok"]
        assert await raw(path, b"x" * (9 * limit), b"\n") == []


async def test_an_answer_in_time(tmp_path: Path) -> None:
    """NDJ-25: the timeout ends the waiting only, and says so."""
    async with door(tmp_path, command_seconds=0.05) as (path, _), open_control(path) as control:
        with pytest.raises(CommandFailed) as caught:
            await control.ask("twice", {"number": 16})
        assert (caught.value.error, caught.value.cause) == (
            "timeout",
            None,
        ) or caught.value.error == "timeout"
        assert await control.ask("ping") == {"message": "pong"}


async def test_a_client_does_not_wait_for_ever(tmp_path: Path) -> None:
    """A node that hangs is told from one that answers."""
    async with door(tmp_path) as (path, _), open_control(path, seconds=0.05) as control:
        with pytest.raises(ControlError) as caught:
            await control.ask("twice", {"number": 16})
    assert caught.value.code == "no_answer"


async def test_permissions_and_lock(tmp_path: Path) -> None:
    """NDJ-5, NDJ-7: 0600 in 0700; a second node is refused and touches nothing; a clean stop removes the socket."""
    async with door(tmp_path) as (path, _):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with pytest.raises(ControlError) as caught:
            async with door(tmp_path):
                pytest.fail("a second node holds the socket")
        assert caught.value.code == "socket_in_use"
        async with open_control(path) as control:
            assert await control.ask("ping")
    assert not path.exists()
    with pytest.raises(ControlError) as gone:
        async with open_control(path):
            pytest.fail("nobody listens")
    assert gone.value.code == "not_running"


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """NDJ-7: what a killed node left is removed by whoever holds the lock."""
    path = tmp_path / "run" / "node.sock"
    path.parent.mkdir(mode=0o700)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    async with door(tmp_path) as (where, _), open_control(where) as control:
        assert await control.ask("ping")


async def test_directories_of_others_are_refused(tmp_path: Path) -> None:
    """NDJ-5: whoever may write to the directory could put a socket of their own there."""
    (tmp_path / "run").mkdir(mode=0o777)
    (tmp_path / "run").chmod(0o777)
    with pytest.raises(ControlError) as caught:
        async with door(tmp_path):
            pytest.fail("opened in a directory that others may write to")
    assert caught.value.code == "socket_permissions"


async def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    """NDJ-4."""
    with pytest.raises(ControlError) as caught:
        async with open_control_door(tmp_path / ("x" * 108), CommandSet(), emit=no_events):
            pytest.fail("opened")
    assert caught.value.code == "socket_path"


async def test_too_many_connections(tmp_path: Path) -> None:
    """NDJ-8: past the bound the newcomer is closed; the others go on."""
    async with door(tmp_path, connections=2) as (path, events):
        async with open_control(path) as first, open_control(path) as second:
            await first.ask("ping")
            await second.ask("ping")
            async with open_control(path) as third:
                with pytest.raises(ControlError) as caught:
                    await third.ask("ping")
            assert caught.value.code == "disconnected"
            assert await first.ask("ping")
        assert events[0][1]["code"] == "too_many_connections"


async def test_a_lack_of_descriptors_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NDJ-8, LIM-1: while nothing can be accepted the door waits; then it serves again."""
    accept, failures = trio.SocketListener.accept, [1, 2]

    async def scarce(listener: trio.SocketListener) -> trio.SocketStream:
        if failures:
            raise OSError(errno.EMFILE, f"no descriptor: {failures.pop()}")
        return await accept(listener)

    monkeypatch.setattr(trio.SocketListener, "accept", scarce)
    monkeypatch.setattr(control_door, "PAUSE_SECONDS", 0.01)
    with trio.fail_after(30):
        async with door(tmp_path) as (path, events):
            async with open_control(path) as client:
                assert await client.ask("ping")
            assert [fields["error"] for _, fields in events] == ["accept", "accept"]


async def test_workers_are_closed_without_a_byte(tmp_path: Path) -> None:
    """NDJ-6: whatever its user, code that is not trusted to stop does not command its node."""
    commands, asked = CommandSet(), []

    def is_worker(pid: int) -> bool:
        asked.append(pid)
        return pid != os.getpid()

    path = tmp_path / "node.sock"
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        "s.sendall(b'{}\\n'); sys.exit(len(s.recv(100)))"
    )
    async with open_control_door(path, commands, emit=no_events, is_worker=is_worker):
        done = await trio.run_process([sys.executable, "-c", script, str(path)], check=False)
        async with open_control(path) as control:
            assert await control.ask("ping")
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.returncode in {0, 1}  # closed: an empty read, or a reset
    assert len(asked) == 2
