"""`web4 ext call`: durable, live, asked on the terminal, cancelled with Ctrl-C (EXT-3, EXT-17 to EXT-19, EXT-42)."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.command import Done, here, start
from tests.cli.extensions import change_manifest, scaffold
from tests.cli.terminal import on_terminal
from tests.cli.test_extensions import locked
from web4.cli import main

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]

CODE = '''
import os, time
from pathlib import Path
import trio
from web4.ext import Context, Extension, Failure

ext = Extension("notes")

@ext.tool
async def echo(ctx: Context, text: str = "") -> str:
    """Say it back."""
    await ctx.progress(f"saying {text}", fraction=0.25)
    return text

@ext.tool
def pid() -> int:
    """The worker's."""
    return os.getpid()

@ext.tool(idempotent=True)
async def wait(ctx: Context, obeys: bool = True) -> str:
    """Wait for ever."""
    await ctx.progress("waiting")
    if not obeys:
        while True:
            time.sleep(1)
    try:
        await trio.sleep_forever()
    finally:
        ctx.side_effects = False

@ext.tool
async def ask(ctx: Context) -> str:
    """Ask the person."""
    sure = await ctx.confirm("Send it?", "to everybody")
    if not sure:
        return f"not sent: {sure.outcome}"
    who = await ctx.select("From whom?", ["Ada", "Bob"])
    return f"sent by {who.value}"

@ext.tool
def fail(how: str) -> None:
    """Fail."""
    print("about to fail")
    if how == "code":
        raise Failure("too_late", "it is too late", retryable=True, side_effects=False)
    if how == "crash":
        os.abort()
    if how == "denied":
        os.fork()
    raise ValueError(how)

@ext.command
def count() -> dict:
    """Count."""
    return {"notes": 3}
'''


def make(directory: Path) -> Path:
    """An extension that is enabled in a data directory of its own."""
    notes = scaffold(directory)
    (notes / "notes.py").write_text(CODE)
    change_manifest(notes, ui=True, timeouts={"tool_ms": 20_000, "cancel_ms": 2_000})
    place = ("--data", str(directory / "node"), "--project", str(directory), "--quiet")
    assert main(["ext", "check", str(notes), "--write", *place]) == 0
    assert main(["ext", "enable", "notes", "--yes", *place]) == 0
    return directory


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests that do not change it."""
    return make(tmp_path_factory.mktemp("project"))


def stand(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let a user stand there."""
    monkeypatch.chdir(directory)
    monkeypatch.setenv("WEB4_HOME", str(directory / "node"))
    monkeypatch.delenv("WEB4_CONFIG", raising=False)
    return directory


@pytest.fixture
def project(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a user stands."""
    return stand(made, monkeypatch)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that may be changed, or whose extension may come into quarantine."""
    return stand(make(tmp_path), monkeypatch)


def call(capfd: Capture, *arguments: object) -> Done:
    done = here(capfd, "ext", "call", *arguments, "--json")
    assert "Traceback" not in done.err
    return done


def records(capfd: Capture) -> list[dict[str, Any]]:
    done = here(capfd, "journal", "tail", "--lane", "human:operator", "--after", 0, "--payload", "--json")
    return [] if done.exit == 6 else [json.loads(line)["record"] for line in done.out.splitlines()[:-1]]


ENVELOPE = {
    "outcome", "code", "extension", "version", "operation", "reason", "timeout_ms", "elapsed_ms", "queue_ms",
    "exit_status", "signal", "peak_memory_bytes", "cpu_ms", "worker_id", "call_id", "retryable", "sandbox",
    "side_effects", "value", "data", "stderr", "isolated",
}  # fmt: skip


def test_call(project: Path, capfd: Capture) -> None:
    """EXT-3, EXT-26: the envelope whole for programs, the value for people; requested and concluded in the journal."""
    before = len(records(capfd))
    done = call(capfd, "notes.echo", '{"text": "hello"}')
    assert done.exit == 0
    assert set(done.data) == ENVELOPE
    assert (done.data["outcome"], done.data["value"], done.data["sandbox"]) == ("ok", "hello", "standard")
    assert (
        here(capfd, "ext", "call", "echo", '{"text": "two\\nlines \\u001b[2J"}').out
        == "two\nlines \\x1b[2J\n"
    )
    assert call(capfd, "pid").data["value"] != os.getpid()
    assert call(capfd, "notes.count", "--kind", "command").data["value"] == {"notes": 3}
    kept = records(capfd)[before:]
    assert [one["type"].removeprefix("extension.call_") for one in kept] == ["requested", "concluded"] * 4
    assert {one["payload"]["call_id"] for one in kept[:2]} == {done.data["call_id"]}
    assert kept[0]["principal"] == "operator"
    for verb in ("verify", "replay"):
        assert here(capfd, "journal", verb).exit == 0


def test_arguments_from_elsewhere(project: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "from afar"}')))
    assert call(capfd, "notes.echo", "@-").data["value"] == "from afar"
    (project / "page.json").write_text('{"text": "from a file"}')
    assert call(capfd, "notes.echo", "@page.json").data["value"] == "from a file"
    done = call(capfd, "notes.echo", "@none.json")
    assert (done.code, done.exit) == ("os", 3)


def test_failures(own: Path, capfd: Capture) -> None:
    """EXT-26, EXT-27: what went wrong, with a code, an exit code, and what to do; what it printed is told beside."""
    done = call(capfd, "notes.fail", '{"how": "code"}')
    assert (done.exit, done.data["code"], done.data["reason"]) == (
        1,
        "extension_error",
        "too_late: it is too late",
    )
    assert (done.data["retryable"], done.data["side_effects"]) == (True, False)
    assert "notes: about to fail" in done.err
    assert "about to fail" not in call(capfd, "notes.fail", '{"how": "code"}', "--quiet").err
    done = call(capfd, "notes.fail", '{"how": "crash"}')
    assert (done.exit, done.data["code"], done.data["signal"]) == (1, "extension_crashed", signal.SIGABRT)
    done = call(capfd, "notes.wait", '{"obeys": false}', "--timeout-ms", 300)
    assert (done.exit, done.data["code"], done.data["timeout_ms"]) == (4, "extension_timeout", 300)
    text = here(capfd, "ext", "call", "notes.fail", '{"how": "no \\u001b[2J reason"}').out
    assert "extension_error" in text
    assert "no \\x1b[2J reason" in text
    assert "in fail: raise ValueError(how)" in text  # where it was raised
    text = here(capfd, "ext", "call", "notes.fail", '{"how": "denied"}').out
    assert "the sandbox may have refused it" in text
    # Two of them count against it, a third opens the quarantine (EXT-38).
    assert call(capfd, "notes.fail", '{"how": "crash"}').data["code"] == "extension_crashed"
    states = {one["name"]: one["state"] for one in here(capfd, "ext", "ls", "--json").data["extensions"]}
    assert states in ({"notes": "enabled"}, {"notes": "quarantined"})


MISTAKES = {
    "no JSON": (("notes.echo", "{text: 1}"), "usage", 2),
    "no object": (("notes.echo", '["text"]'), "usage", 2),
    "an argument that is none": (("notes.echo", '{"txt": "x"}'), "arguments", 2),
    "of another type": (("notes.echo", '{"text": 1}'), "arguments", 2),
    "no such tool": (("notes.eco",), "unknown_operation", 6),
    "no such name": (("eco",), "unknown_operation", 6),
    "a command that is a tool": (("notes.echo", "--kind", "command"), "unknown_operation", 6),
    "no such extension": (("nots.echo",), "not_enabled", 5),
    "no time": (("notes.echo", "--timeout-ms", 0), "usage", 2),
    "no such kind": (("notes.echo", "--kind", "hook"), "usage", 2),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str, project: Path, capfd: Capture) -> None:
    """Nothing was called, and nothing is in the journal."""
    words, code, exit_ = MISTAKES[name]
    before = records(capfd)
    done = call(capfd, *words)
    assert (done.code, done.exit) == (code, exit_)
    assert records(capfd) == before


def test_not_as_enabled(own: Path, capfd: Capture) -> None:
    """EXT-7: one byte is another: it is not started, the file is named, and the journal notes it once."""
    (own / ".web4" / "extensions" / "notes" / "notes.py").write_text(CODE + "#")
    for _ in range(2):
        done = call(capfd, "notes.echo")
        assert (done.code, done.exit) == ("changed", 7)
        assert "notes.py" in json.loads(done.out)["error"]["message"]
        assert "web4 ext enable" in done.err
    noted = here(capfd, "journal", "history", "--type", "extension.changed", "--json").data["entries"]
    assert len(noted) == 1


def test_nothing_is_enabled(project: Path, tmp_path: Path, capfd: Capture) -> None:
    done = call(capfd, "notes.echo", "--data", tmp_path / "elsewhere")
    assert (done.code, done.exit) == ("not_enabled", 5)
    assert not (tmp_path / "elsewhere").exists()


def test_the_node_runs(project: Path, capfd: Capture) -> None:
    with locked(project / "node"):
        done = call(capfd, "notes.echo")
        assert (done.code, done.exit) == ("journal_locked", 3)


def test_progress_and_questions_on_a_terminal(project: Path) -> None:
    """EXT-17, EXT-18: progress as it comes; the extension's name and its words; the answer goes back to it."""
    words = ("ext", "call", "notes.ask", "--data", project / "node")
    with on_terminal(*words, cwd=project) as terminal:
        terminal.see("notes asks: Send it?")
        terminal.see("notes asks: to everybody")
        terminal.see("[y/n]")
        terminal.type("y\n")
        terminal.see("notes asks: From whom?")
        terminal.see("[1-2]")
        terminal.type("2\n")
        terminal.see("sent by Bob")
        assert terminal.end() == 0
    echo = ("ext", "call", "notes.echo", '{"text": "it"}', "--data", project / "node")
    with on_terminal(*echo, json=True, cwd=project) as terminal:
        terminal.see("25% saying it")
        assert terminal.end() == 0


def test_nobody_can_be_asked(project: Path, capfd: Capture) -> None:
    """No answer is made up."""
    assert call(capfd, "notes.ask").data["value"] == "not sent: refused"


@pytest.mark.scenario("extensions#6")
@pytest.mark.parametrize("obeys", [True, False])
def test_interrupted(project: Path, capfd: Capture, obeys: bool) -> None:
    """EXT-19, UX-6: Ctrl-C cancels the tool, obeyed or not; it is said how it ended, and so does the journal."""
    arguments = json.dumps({"obeys": obeys})
    words = ("ext", "call", "notes.wait", arguments, "--data", project / "node")
    with on_terminal(*words, cwd=project) as terminal:
        terminal.see("waiting")
        terminal.type("\x03")
        terminal.see("cancelled: extension_cancelled")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.shown
    *_, concluded = records(capfd)
    assert (concluded["type"], concluded["payload"]["outcome"]) == ("extension.call_concluded", "cancelled")
    assert here(capfd, "journal", "stats", "--json").data["open_work"]["count"] == 0


def test_terminated_with_json(project: Path, capfd: Capture) -> None:
    """What was cancelled is told as JSON, too."""
    running = start("ext", "call", "notes.wait", "--data", project / "node", "--json", cwd=project)
    try:
        wait_until_requested(capfd)
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
        running.communicate()
    assert running.returncode == 143, err
    assert json.loads(out)["data"]["outcome"] == "cancelled"


def wait_until_requested(capfd: Capture) -> None:
    while here(capfd, "journal", "stats", "--json").data["open_work"]["count"] == 0:
        time.sleep(0.02)


def test_killed_between_request_and_conclusion(project: Path, capfd: Capture) -> None:
    """ACT-3: what was under way is concluded by the next call's process. Nobody waits for it: it is not made again."""
    running = start(
        "ext", "call", "notes.wait", "--timeout-ms", 500_000, "--data", project / "node", cwd=project
    )
    try:
        wait_until_requested(capfd)
    finally:
        running.kill()
        running.communicate()
    done = call(capfd, "notes.echo", '{"text": "after"}')
    assert (done.exit, done.data["value"]) == (0, "after")
    assert here(capfd, "journal", "stats", "--json").data["open_work"]["count"] == 0
    ended = [one["payload"] for one in records(capfd) if one["type"] == "extension.call_concluded"][-2:]
    assert [(one["outcome"], one["code"]) for one in ended] == [("killed", "worker_lost"), ("ok", None)]
