"""A real extension in real workers behind a real host, for tests of the whole path of a call."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import trio

from web4.extensions.host import ExtensionHost, open_extension_host
from web4.extensions.options import HostOptions
from web4.extensions.processes import Processes, open_processes
from web4.extensions.provisional import read_provisional

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LONG = 60.0
"""Seconds after which a test is stuck."""

CODE = """
import os, random, signal, sys, threading, time
from web4.ext import Context, Extension

ext = Extension("acme.bench")
kept = []

@ext.tool()
def echo(value: str) -> str:
    return value

@ext.tool()
def again(value: str) -> str:
    return f"{VERSION} {value}"

@ext.tool()
def who() -> int:
    return os.getpid()

@ext.tool()
def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds

@ext.tool()
def spin(seconds: float) -> float:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds

@ext.tool()
def stubborn() -> str:
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    while True:
        time.sleep(1)

@ext.tool()
def block() -> str:
    reading, _writing = os.pipe()
    os.read(reading, 1)
    return "never"

@ext.tool()
def crash(number: int) -> str:
    os.kill(os.getpid(), number)
    return "never"

@ext.tool()
def leave(status: int) -> str:
    os._exit(status)

@ext.tool()
def hoard(mebibytes: int) -> int:
    kept.append(os.urandom(1) * (mebibytes << 20))
    return len(kept)

@ext.tool()
def leak(number: int) -> int:
    kept.extend(os.pipe() for _ in range(number))
    return len(kept)

@ext.tool()
def shout(mebibytes: int) -> int:
    for _ in range(mebibytes):
        sys.stdout.write("x" * (1 << 20))
        sys.stdout.flush()
    return mebibytes

@ext.tool(cancellable=True)
def obey(ctx: Context) -> str:
    while not ctx.cancelled:
        time.sleep(0.001)
    return "stopped"

@ext.command()
def add(one: int, other: int) -> dict[str, int]:
    return {"sum": one + other}
"""


def code(version: str = "1.0.0") -> str:
    return f"VERSION = {version!r}\n" + dedent(CODE)


def write_extension(directory: Path, source: str | None = None, **keys: Any) -> Path:
    """Write an extension of the code above, and the manifest that fits it."""
    directory.mkdir(parents=True, exist_ok=True)
    version = str(keys.get("version", "1.0.0"))
    (directory / "bench.py").write_text(code(version) if source is None else source)
    text = {"type": "string"}
    number, integer = {"type": "number"}, {"type": "integer"}

    def tool(name: str, **properties: Any) -> dict[str, Any]:
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        schema["additionalProperties"] = False
        return {"name": name, "description": f"To {name}.", "input_schema": schema} | changed.get(name, {})

    changed = keys.pop("tool_keys", {})
    manifest = {
        "schema": 1,
        "protocol": 1,
        "name": "acme.bench",
        "version": version,
        "description": "For tests.",
        "entry": {"python": "bench:ext"},
        "tools": [
            tool("echo", value=text),
            tool("again", value=text),
            tool("who"),
            tool("sleep", seconds=number),
            tool("spin", seconds=number),
            tool("stubborn"),
            tool("block"),
            tool("crash", number=integer),
            tool("leave", status=integer),
            tool("hoard", mebibytes=integer),
            tool("leak", number=integer),
            tool("shout", mebibytes=integer),
            tool("obey"),
        ],
        "commands": [{"name": "add", "description": "To add."}],
    }
    (directory / "web4-extension.json").write_text(json.dumps(manifest | keys))
    return directory


@asynccontextmanager
async def running(
    *directories: Path, runtime: Path, development: bool = False, **given: Any
) -> AsyncIterator[ExtensionHost]:
    """A host that runs extensions as if they had been enabled."""
    async with (
        open_processes(runtime=runtime) as processes,
        hosted(processes, *directories, development=development, **given) as host,
    ):
        yield host


@asynccontextmanager
async def hosted(
    processes: Processes, *directories: Path, development: bool = False, **given: Any
) -> AsyncIterator[ExtensionHost]:
    """The same on processes that are there."""
    extensions = [read_provisional(one, development=development) for one in directories]
    given.setdefault("options", HostOptions(watch_ms=50))
    with trio.fail_after(LONG):
        async with open_extension_host(extensions, processes, **given) as host:
            yield host
