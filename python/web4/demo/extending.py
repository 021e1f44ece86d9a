"""Extensions of an agent of the demo: enabled by its person, called through its journal, killed when they hang."""

from __future__ import annotations

import os
import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from web4.actors.lane_actors import open_lane_actors
from web4.demo.proving import Extra
from web4.demo.survivors import branch_of, left_of, tree_below
from web4.extensions.calls.call_events import CallRequested
from web4.extensions.calls.calls_lane import CallsLane, ExtensionCalls
from web4.extensions.calls.calls_lane_asking import call_on_lane
from web4.extensions.calls.kept_values import kept
from web4.extensions.enabling.enabling import Enabling, EnablingRules
from web4.extensions.hosting.host import open_extension_host
from web4.extensions.hosting.options import HostOptions
from web4.extensions.manifests.grants import NodePaths
from web4.extensions.processes import open_processes
from web4.journal.lane import SERVER, Lane
from web4.worker.frames import CallContext

if TYPE_CHECKING:
    from web4.actors import LaneActors
    from web4.demo.child import Setup
    from web4.demo.survivors import Seen
    from web4.extensions.conversation.call import ProgressUpdate
    from web4.extensions.hosting.host import ExtensionHost
    from web4.extensions.outcome import CallOutcome
    from web4.node import Node

SHIPPED = Path(__file__).parent / "extension"
NAME = "outline"
CALLS = Lane("session", "extensions")
"""Of a kind that the node itself has no actors for."""


class Extending:
    """What the demo can ask of an agent's extensions. Nothing of it runs before the first question.

    Args:
        setup: The agent's.
        node: Keeps what is enabled, and every call.
        nursery: Runs the extensions until the agent ends.
    """

    def __init__(self, setup: Setup, node: Node, nursery: trio.Nursery) -> None:
        self._setup = setup
        self._node = node
        self._nursery = nursery
        self._host: ExtensionHost | None = None
        self._pids: dict[str, int] = {}
        self._exits: dict[str, trio.Event] = {}
        self._tree: dict[Seen, Seen | None] = {}
        self.calls = CallsLane(calls=ExtensionCalls(node.journal, self._perform))
        """The lane of its calls."""
        self.actors: LaneActors | None = None
        """Its actors, once an extension was enabled."""

    @property
    def proof(self) -> Extra | None:
        """What has to be known to prove the lane of its calls."""
        return None if self.actors is None else Extra("session", self.calls, self.actors)

    async def enable(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Let the agent's person enable the demo's extension; from then on it runs."""
        directory = self._setup.directory / "extensions" / NAME
        await trio.to_thread.run_sync(_copy, SHIPPED, directory)
        shown: dict[str, Any] = await self._nursery.start(self._run, directory, arguments["human"])
        return shown

    async def _run(self, directory: Path, human: str, task_status: trio.TaskStatus[dict[str, Any]]) -> None:
        paths = NodePaths(data=str(self._setup.directory))
        journal = self._node.journal
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            processes = await enter(open_processes(runtime=self._setup.directory / "run", emit=self._emit))
            enabling = Enabling(self._node.actors.lane(SERVER), journal, EnablingRules(node=paths))
            proposal = await enabling.propose(directory)
            record = await enabling.enable(proposal, by=human, how="demo")
            ready, _ = await enabling.extensions()
            options = HostOptions(hidden=paths.hidden)
            self._host = await enter(
                open_extension_host(ready, processes, registry=enabling, options=options, emit=self._emit)
            )
            self.actors = await enter(open_lane_actors(journal, {"session": self.calls}))
            self._setup.tell(
                "extension_enabled",
                extension=record.name,
                version=record.version,
                digest=record.digest,
                human=human,
                level=record.asks.level,
            )
            task_status.started({"digest": record.digest, "limits": list(record.asks.limits)})
            await trio.sleep_forever()

    async def call(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a tool of it through the journal; what came of it, and what is left of its worker's processes."""
        assert self.actors is not None
        journal = self._node.journal
        self._tree = {}
        call_id = self._setup.ids.uuid4()
        request = CallRequested(
            call_id=call_id,
            extension=NAME,
            version="1.0.0",
            kind="tool",
            name=arguments["tool"],
            arguments=await kept(journal, arguments["arguments"]),
            timeout_ms=None,
            idempotency_key=call_id,
            idempotent=False,
            context=CallContext(call=call_id),
        )
        lane = self.actors.lane(CALLS)
        outcome = await call_on_lane(journal, lane, request, principal=arguments["human"])
        told = await self._told(outcome)
        self._setup.tell("extension_called", **told)
        return {**told, "value": outcome.value}

    async def _told(self, outcome: CallOutcome) -> dict[str, Any]:
        worker = outcome.worker_id
        pid = None if worker is None else self._pids.get(worker)
        told: dict[str, Any] = {
            "operation": outcome.operation,
            "ended": outcome.outcome,
            "failure": outcome.code,
            "timeout_ms": outcome.timeout_ms,
            "elapsed_ms": outcome.elapsed_ms,
            "worker": pid,
        }
        if outcome.outcome == "ok" or worker is None or pid is None or not self._tree:
            return told
        await self._exits[worker].wait()
        branch = branch_of(self._tree, pid)
        return told | {"processes": len(branch), "survivors": len(left_of(branch))}

    async def _perform(self, request: CallRequested, arguments: Any, /) -> CallOutcome:
        assert self._host is not None
        return await self._host.call(
            request.kind,
            f"{request.extension}.{request.name}",
            arguments,
            context=request.context,
            call_id=request.call_id,
            idempotency_key=request.idempotency_key,
            on_progress=self._progress,
        )

    def _progress(self, update: ProgressUpdate) -> None:
        """Tell of it; and look which processes there are, from outside."""
        self._tree = tree_below(os.getpid())
        self._setup.tell("extension_progress", message=update.message)

    def _emit(self, type: str, /, **fields: Any) -> None:  # noqa: A002 - the name of the field it fills
        worker = fields.get("worker_id")
        if type == "worker_started" and worker is not None:
            self._pids[worker] = fields["pid"]
            self._exits[worker] = trio.Event()
        self._node.hub.emit(type, **fields)
        if type == "worker_exited" and worker in self._exits:
            self._exits[worker].set()


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
