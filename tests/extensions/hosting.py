"""A real extension in real workers behind a real host, for tests of the whole path of a call."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import uuid
from contextlib import asynccontextmanager
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import trio

from web4.extensions.hosting.host import ExtensionHost, open_extension_host
from web4.extensions.hosting.options import HostOptions
from web4.extensions.hosting.provisional import read_provisional
from web4.extensions.processes import Processes, open_processes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

LONG = 60.0 + float(os.environ.get("WEB4_ROUNDS", "0"))
"""Seconds after which a test is stuck."""

CODE = '''
import os, random, signal, sys, threading, time
from web4.ext import Context, Extension

ext = Extension("acme.bench")
kept = []

@ext.tool()
def echo(value: str) -> str:
    """Do echo."""
    return value

@ext.tool()
def again(value: str) -> str:
    """Do again."""
    return f"{VERSION} {value}"

@ext.tool()
def who() -> int:
    """Do who."""
    return os.getpid()

@ext.tool()
def sleep(seconds: float) -> float:
    """Do sleep."""
    time.sleep(seconds)
    return seconds

@ext.tool()
def spin(seconds: float) -> float:
    """Do spin."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds

@ext.tool()
def stubborn() -> str:
    """Do stubborn."""
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    while True:
        time.sleep(1)

@ext.tool()
def block() -> str:
    """Do block."""
    reading, _writing = os.pipe()
    os.read(reading, 1)
    return "never"

@ext.tool()
def crash(number: int) -> str:
    """Do crash."""
    os.kill(os.getpid(), number)
    return "never"

@ext.tool()
def leave(status: int) -> str:
    """Do leave."""
    os._exit(status)

@ext.tool()
def hoard(mebibytes: int) -> int:
    """Do hoard."""
    kept.append(os.urandom(1) * (mebibytes << 20))
    return len(kept)

@ext.tool()
def leak(number: int) -> int:
    """Do leak."""
    kept.extend(os.pipe() for _ in range(number))
    return len(kept)

@ext.tool()
def shout(mebibytes: int) -> int:
    """Do shout."""
    for _ in range(mebibytes):
        sys.stdout.write("x" * (1 << 20))
        sys.stdout.flush()
    return mebibytes

@ext.tool(cancellable=True)
def obey(ctx: Context) -> str:
    """Do obey."""
    while not ctx.cancelled:
        time.sleep(0.001)
    return "stopped"

@ext.command()
def add(one: int, other: int) -> dict[str, int]:
    """Do add."""
    return {"sum": one + other}
'''


def code(version: str = "1.0.0") -> str:
    return f"VERSION = {version!r}\n" + dedent(CODE)


def write_extension(
    directory: Path, source: str | None = None, *, tools: dict[str, Any] | None = None, **keys: Any
) -> Path:
    """Write an extension, of the code above if no other is given, and the manifest that fits it.

    Args:
        directory: Of the extension.
        source: Its one module, `bench`.
        tools: What is added to the manifest's entry of a tool, by its name.
        keys: Other keys of the manifest.
    """
    version = str(keys.get("version", "1.0.0"))
    directory.mkdir(parents=True, exist_ok=True)
    module = directory / "bench.py"
    module.write_text(code(version) if source is None else source)
    described: dict[str, Any] = {} if "tools" in keys else _describe(module)
    for tool in described.get("tools", ()):
        tool.update((tools or {}).get(tool["name"], {}))
    manifest = {
        "schema": 1,
        "protocol": 1,
        "name": "acme.bench",
        "version": version,
        "description": "For tests.",
        "entry": {"python": "bench:ext"},
    }
    text = json.dumps(manifest | described | keys)
    # At once, so that nobody who watches the directory sees half of it.
    (directory / ".new").write_text(text)
    (directory / ".new").rename(directory / "web4-extension.json")
    return directory


def _describe(path: Path) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location(f"bench_{uuid.uuid4().hex}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        described: dict[str, Any] = module.ext.describe()
    finally:
        del sys.modules[spec.name]
    return described


async def until(true: Callable[[], bool]) -> None:
    """Wait until something has become true; a test that waits in vain fails."""
    with trio.fail_after(LONG):
        while not true():
            await trio.sleep(0.002)


async def busy(host: ExtensionHost, number: int = 1) -> None:
    """Wait until that many workers have a call."""
    await until(lambda: sum(one.pool.busy for one in host.health().extensions) >= number)


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
