"""Starting an extension once, in a real worker with its own limits: would it be ready? (EXT-15, EXT-42)."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import trio

from web4.cli.extensions.declared import GROUPS
from web4.cli.extensions.measuring import limits_of
from web4.extensions.conversation.call import Call
from web4.extensions.conversation.conversation import open_conversation
from web4.extensions.conversation.terms import Terms
from web4.extensions.errors import WorkerStartError
from web4.extensions.manifests.manifest import Manifest, Tool
from web4.extensions.processes import StartSpec
from web4.worker.request import PythonEntry, Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from web4.cli.extensions.places import Surroundings
    from web4.extensions.conversation.conversation import Conversation
    from web4.extensions.processes import Processes

_DESCRIBING: Final = PythonEntry("web4.cli.extensions.describing", "ext")
_DESCRIBE: Final = Tool(
    name="describe", description="Say what the code declares.", input_schema={"type": "object"}
)


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """What an extension's code declares. It comes out of a process that the code may have taken over.

    Args:
        name: What it calls itself; None if it could not be imported.
        parts: As entries of a manifest.
        problems: What is wrong with it, sentences.
        traceback: Of what its import raised.
    """

    name: str | None = None
    parts: dict[str, list[dict[str, Any]]] = {}
    problems: list[str] = []
    traceback: list[str] = []

    def __post_init__(self) -> None:
        for group, entries in self.parts.items():
            if group not in GROUPS:
                raise ValueError("a group of parts that there is not")
            if not all(isinstance(one.get(GROUPS[group][0]), str) for one in entries):
                raise ValueError("a part without a name")


class Started(NamedTuple):
    """A worker that was ready, or not.

    Args:
        problem: Why it was not.
        ready_ms: From the first step to `ready`, milliseconds.
        missing: Protections that its level promises and this machine does not give.
        said: What it wrote to standard error, its end, line by line.
    """

    problem: str | None
    ready_ms: float | None = None
    missing: tuple[str, ...] = ()
    said: Sequence[str] = ()


async def declared(
    processes: Processes, around: Surroundings, manifest: Manifest, directory: str
) -> Declared:
    """Have a worker import a Python extension and say what it declares. It is granted no path but its own.

    Args:
        processes: Starts the worker.
        around: The node's own.
        manifest: Sound as far as entry, limits and sandbox go.
        directory: The extension's, absolute and resolved.
    """
    assert isinstance(manifest.entry, PythonEntry)
    asked = msgspec.structs.replace(
        manifest,
        name="web4.describing",
        entry=_DESCRIBING,
        tools=(_DESCRIBE,),
        sandbox=msgspec.structs.replace(manifest.sandbox, read=(), write=()),
        **dict.fromkeys(("commands", "services", "workloads", "rules", "hooks"), ()),
    )
    call = Call(
        call_id="describe",
        kind="tool",
        name="describe",
        arguments={"module": manifest.entry.module, "object": manifest.entry.object},
        timeout_ms=manifest.timeouts.startup_ms,
    )
    try:
        async with _worker(processes, around, asked, directory) as worker:
            outcome = await worker.call(call)
    except WorkerStartError as error:
        return Declared(problems=[_told(error)], traceback=_said(error))
    if outcome.outcome != "ok":
        told = [f"importing it came to {outcome.code}: {outcome.reason}"]
        return Declared(problems=told, traceback=(outcome.stderr or "").splitlines())
    try:
        return msgspec.convert(outcome.value, Declared)
    except msgspec.ValidationError as error:
        return Declared(problems=[f"it says of itself what cannot be: {error}"])


async def started(processes: Processes, around: Surroundings, manifest: Manifest, directory: str) -> Started:
    """Start a worker of an extension as a node would, wait until it is ready, and end it.

    Args:
        processes: Starts the worker.
        around: The node's own.
        manifest: The extension's.
        directory: The extension's, absolute and resolved.
    """
    began = trio.current_time()
    try:
        async with _worker(processes, around, manifest, directory) as worker:
            took = (trio.current_time() - began) * 1000
            return Started(None, round(took, 1), worker.process.protections.missing)
    except WorkerStartError as error:
        return Started(_told(error), said=_said(error))


@asynccontextmanager
async def _worker(
    processes: Processes, around: Surroundings, manifest: Manifest, directory: str
) -> AsyncIterator[Conversation]:
    wish = manifest.sandbox
    spec = StartSpec(
        extension=manifest.name,
        version=manifest.version,
        entry=manifest.entry,
        directory=directory,
        environment={name: os.environ[name] for name in manifest.environment if name in os.environ},
        limits=limits_of(manifest.resources),
        sandbox=Sandbox(
            level=wish.level,
            network=wish.network,
            read=wish.read,
            write=wish.write,
            hidden=around.paths.hidden,
            required=wish.required,
        ),
        user=around.configuration.worker_user,
    )
    startup_ms = manifest.timeouts.startup_ms
    with trio.move_on_after(startup_ms / 1000) as scope:
        process = await processes.start(spec)
    if scope.cancelled_caught:
        raise WorkerStartError(f"it did not start within {startup_ms} ms", code="extension_start_timeout")
    async with open_conversation(process, Terms(manifest)) as conversation:
        try:
            await conversation.greet()
        except WorkerStartError as error:
            for line in ((conversation.last and conversation.last.stderr) or "").splitlines():
                error.add_note(line)
            raise
        yield conversation


def _told(error: WorkerStartError) -> str:
    return f"{error.code}: {error.args[0]}"


def _said(error: WorkerStartError) -> list[str]:
    """What the worker wrote to standard error before it ended."""
    return list(getattr(error, "__notes__", ()))
