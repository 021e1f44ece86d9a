"""`web4 ext check`: all that is wrong at once, told by a real worker (EXT-1, EXT-42, EXT-43)."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Done, here
from tests.cli.extensions import change_manifest, scaffold
from tests.cli.terminal import PATIENCE, on_terminal
from web4.demo.survivors import Seen, left_of, tree_below

Capture = pytest.CaptureFixture[str]
EXAMPLE = Path(__file__).parents[2] / "examples" / "extensions" / "markdown_text"

NOTES = '''
"""Notes."""
from typing import Literal, Optional
import msgspec
from web4.ext import Allow, Context, Extension, Rewrite, ToolCall

ext = Extension("notes")

class Hit(msgspec.Struct):
    line: int
    text: str

@ext.tool(timeout_ms=2_000, permissions=["read"])
async def search(ctx: Context, words: str, where: Optional[Literal["a", "b"]] = None) -> list[Hit]:
    """Search the notes."""
    return []

@ext.command
def count() -> dict:
    """Count the notes."""
    return {"notes": 0}

@ext.hook("tool_call", tools=["run_*"], order=3)
def guard(call: ToolCall) -> Allow | Rewrite:
    return Allow()
'''


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new extension."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEB4_HOME", str(tmp_path / "node"))
    monkeypatch.delenv("WEB4_CONFIG", raising=False)
    return scaffold(tmp_path)


def check(capfd: Capture, *arguments: object) -> Done:
    done = here(capfd, "ext", "check", *arguments, "--json")
    assert "Traceback" not in done.err
    return done


def findings(done: Done) -> dict[str, str]:
    assert (done.exit, done.data["clean"]) == ((1, False) if done.data["findings"] else (0, True))
    return {one["where"]: one["text"] for one in done.data["findings"]}


def test_new_extensions_and_the_example_are_sound(notes: Path, capfd: Capture) -> None:
    """What `new` writes, and what ships, starts as it is; its schemas are those of its types."""
    for directory in (notes, EXAMPLE):
        done = check(capfd, directory)
        assert findings(done) == {}
        assert done.data["ready_ms"] > 0
        assert len(done.data["digest"]) == 64
    assert not (notes / "__pycache__").exists()


def test_write(notes: Path, capfd: Capture) -> None:
    """EXT-43: the manifest says what the code declares: parts, schemas, options; the rest stays, comments too."""
    (notes / "notes.py").write_text(NOTES)
    found = findings(check(capfd, notes))
    assert set(found) == {"tools.greet", "tools.search", "commands.count", "hooks.tool_call"}
    assert f"web4 ext check {notes} --write" in here(capfd, "ext", "check", notes).out
    before = (notes / "web4-extension.toml").read_text()
    done = check(capfd, notes, "--write")
    assert (findings(done), done.data["written"]) == ({}, True)
    text = (notes / "web4-extension.toml").read_text()
    for line in before.splitlines():
        if line.startswith("# No network") or "memory_mb" in line:
            assert line in text
    manifest = tomllib.loads(text)
    [tool] = manifest["tools"]
    assert (tool["timeout_ms"], tool["permissions"]) == (2_000, ["read"])
    assert tool["input_schema"]["required"] == ["words"]
    assert manifest["hooks"] == [{"point": "tool_call", "tools": ["run_*"], "order": 3, "rewrites": True}]
    assert findings(check(capfd, notes)) == {}
    assert (notes / "web4-extension.toml").read_text() == text


def test_write_json(notes: Path, capfd: Capture) -> None:
    (notes / "notes.py").write_text(NOTES)
    change_manifest(notes, tools=[])
    assert findings(check(capfd, notes, "--write")) == {}
    assert findings(check(capfd, notes)) == {}


def test_differences(notes: Path, capfd: Capture) -> None:
    """Each is named by its place. What the code leaves open is the manifest's to say."""
    manifest = (notes / "web4-extension.toml").read_text()
    manifest = manifest.replace("timeout_ms = 5000", "timeout_ms = 7000\ncancel_safe = true")
    manifest = manifest.replace('who = { type = "string" }', 'who = { type = "integer" }')
    manifest = manifest.replace("Greet somebody by name.", "Shout at somebody.")
    (notes / "web4-extension.toml").write_text(manifest)
    assert findings(check(capfd, notes)) == {
        "tools.greet.description": 'the manifest says "Shout at somebody.", the code says "Greet somebody by name."',
        "tools.greet.input_schema": "it is not what the types say",
        "tools.greet.timeout_ms": "the manifest says 7000, the code says 5000",
    }
    (notes / "notes.py").write_text(
        (notes / "notes.py").read_text().replace('Extension("notes")', 'Extension("other")')
    )
    assert "name" in findings(check(capfd, notes))


def test_everything_at_once(notes: Path, capfd: Capture) -> None:
    """Of a manifest all that does not fit, each by its key, and beside it what is wrong with the code."""
    change_manifest(
        notes,
        nam="notes",
        version="one",
        timeouts={"tool_ms": 0},
        tools=[
            {"name": "greet", "description": "", "input_schema": {"type": "objekt"}},
            {"name": "greet", "descripton": "x"},
        ],
        hooks=[{"point": "tool_cal"}, {"point": "run_end", "tools": ["x"]}],
        resources={"memory_mb": 1},
        sandbox={"required": ["landlok"], "network": ["example.org:443"]},
    )
    (notes / "link").symlink_to("/etc/hostname")
    found = findings(check(capfd, notes))
    assert {
        "nam",
        "version",
        "timeouts.tool_ms",
        "tools[0].description",
        "tools[1].descripton",
        "tools[1].name",
        "hooks[0].point",
        "hooks[1].tools",
        "resources.memory_mb",
        "sandbox.required[0]",
        "sandbox.network",
        "directory",
    } <= set(found)
    assert "did you mean 'name'?" in found["nam"]


BAD_CODE = {
    "no such module": ("import nothing_of_this_name", "nothing_of_this_name"),
    "no Python": ("def", "SyntaxError"),
    "raises": ("raise ValueError('no \\x1b[2J luck')", "luck"),
    "ends": ("import os; os._exit(3)", "status 3"),
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    "eats": ("x = bytearray(1 << 30)", "memory"),
    "reaches out": ("open('/etc/shadow').read()", "PermissionError"),
    "another process": ("import os, signal; os.kill(os.getppid(), signal.SIGKILL)", "PermissionError"),
    "another name": (
        "from web4.ext import Extension\nother = Extension('notes')",
        "its extension is notes:other",
    ),
    "no form in JSON": (NOTES.replace("words: str", "words: object"), "its parameter words"),
    "nothing": ("ext = 1", "is no Extension"),
    "no description": (NOTES.replace('    """Count the notes."""\n', ""), "no description"),
}


@pytest.mark.parametrize(
    "told", ["{'parts': {'tools': [1]}}", "{'parts': {'tools': [{}]}}", "{'parts': {'x': []}}", "7"]
)
def test_code_that_takes_the_worker_over(told: str, notes: Path, capfd: Capture) -> None:
    """What comes out of the worker is held to its shape: nothing of it can make the command line fail."""
    hostile = f"import web4.ext.operations as o\no.Operation.value = lambda *_: {told}\n"
    (notes / "notes.py").write_text(hostile + NOTES)
    assert "says of itself what cannot be" in findings(check(capfd, notes, "--write"))["code"]


@pytest.mark.parametrize("name", BAD_CODE)
def test_code_that_does_not_start(name: str, notes: Path, capfd: Capture) -> None:
    """EXT-1, EXT-4: whatever the code does as it is imported, it does in a worker, and it is a finding."""
    code, told = BAD_CODE[name]
    (notes / "notes.py").write_text(f"{code}\n")
    done = check(capfd, notes)
    found = findings(done)
    assert told in found["code"], found
    assert "frozen importlib" not in "".join(done.data["traceback"])
    if name == "raises":
        text = here(capfd, "ext", "check", notes).out
        assert "finding" in text
        assert "\x1b[2J" not in text


def test_code_that_hangs(notes: Path, capfd: Capture) -> None:
    """EXT-21: it has `startup_ms`; then its worker is killed, and that is the finding."""
    change_manifest(notes, timeouts={"startup_ms": 300})
    (notes / "notes.py").write_text("while True: pass\n")
    assert "timeout" in findings(check(capfd, notes))["code"]


def test_program(notes: Path, capfd: Capture) -> None:
    """Of a program, in whatever language, only what it says when it is ready can be held against the manifest."""
    program = notes / "worker"
    program.write_text("#!/bin/sh\nexit 4\n")
    program.chmod(0o755)
    change_manifest(notes, entry={"command": ["worker"]})
    assert "status 4" in findings(check(capfd, notes))["start"]


def test_what_this_node_would_refuse(notes: Path, tmp_path: Path, capfd: Capture) -> None:
    """EXT-24, EXT-31, EXT-32: ceilings, grants, protections that are not there."""
    change_manifest(
        notes, resources={"memory_mb": 4_000}, sandbox={"read": [str(tmp_path / "node" / "identity.pem")]}
    )
    assert set(findings(check(capfd, notes))) == {"resources.memory_mb", "sandbox.read[0]"}


MISTAKES = {
    "nothing there": "nowhere",
    "a file": "file",
    "an empty directory": "empty",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_no_extension(name: str, notes: Path, tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    found: Any = findings(check(capfd, MISTAKES[name]))
    assert "manifest" in found
    assert not list((tmp_path / "empty").iterdir())


def test_interrupted(notes: Path, tmp_path: Path) -> None:
    """UX-6, EXT-41: Ctrl-C while the code hangs ends it at once, and nothing of the worker is left."""
    (notes / "notes.py").write_text("while True: pass\n")
    with on_terminal("ext", "check", notes, cwd=tmp_path) as terminal:
        tree: dict[Seen, Seen | None] = {}
        deadline = time.monotonic() + PATIENCE
        while sum("web4" in name_of(one) for one in tree) < 2:  # the template, and a worker
            assert time.monotonic() < deadline
            tree |= tree_below(terminal.process.pid)
            time.sleep(0.01)
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.shown
        assert not left_of(set(tree))


def name_of(one: Seen) -> str:
    try:
        return Path(f"/proc/{one.pid}/comm").read_text()
    except OSError:
        return ""
