"""Extensions of an agent of the demo: enabled by its person, called through its journal, killed when they hang."""

from __future__ import annotations

import os
import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from web4.actors.lane_actors import open_lane_actors
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
from web4.mesh.server_lane import SERVER_LANE
from web4.worker.frames import CallContext

if TYPE_CHECKING:
    from web4.actors.lane_ref import LaneRef
    from web4.demo.child import Setup
    from web4.demo.survivors import Seen
    from web4.extensions.conversation.call import ProgressUpdate
    from web4.extensions.hosting.host import ExtensionHost
    from web4.extensions.outcome import CallOutcome
    from web4.journal.journal import Journal

EXAMPLE = Path(__file__).parents[3] / "examples" / "extensions" / "markdown_text"
ADDED = Path(__file__).parent / "extension"
CALLS = Lane("human", "person")


class Extending:
    """What the demo can ask of an agent's extensions. Nothing of it runs before the first question.

    Args:
        setup: The agent's.
        journal: Where it keeps what it enabled, and every call.
        nursery: Runs the extensions until the agent ends.
    """

    def __init__(self, setup: Setup, journal: Journal, nursery: trio.Nursery) -> None:
        self._setup = setup
        self._journal = journal
        self._nursery = nursery
        self._host: ExtensionHost | None = None
        self._lane: LaneRef | None = None
        self._pids: dict[str, int] = {}
        self._exits: dict[str, trio.Event] = {}
        self._tree: dict[Seen, Seen | None] = {}

    async def enable(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Let the agent's person enable the example, with a tool that hangs; from then on it runs."""
        directory = self._setup.directory / "extensions" / "markdown_text"
        for source in (EXAMPLE, ADDED):
            await trio.to_thread.run_sync(_copy, source, directory)
        shown: dict[str, Any] = await self._nursery.start(self._run, directory, arguments["human"])
        return shown

    async def _run(self, directory: Path, human: str, task_status: trio.TaskStatus[dict[str, Any]]) -> None:
        node = NodePaths(data=str(self._setup.directory))
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            processes = await enter(open_processes(runtime=self._setup.directory / "run", emit=self._emit))
            servers = await enter(open_lane_actors(self._journal, {"server": SERVER_LANE}))
            enabling = Enabling(servers.lane(SERVER), self._journal, EnablingRules(node=node))
            proposal = await enabling.propose(directory)
            record = await enabling.enable(proposal, by=human, how="demo")
            ready, _ = await enabling.extensions()
            options = HostOptions(hidden=node.hidden)
            self._host = await enter(
                open_extension_host(ready, processes, registry=enabling, options=options, emit=self._emit)
            )
            calls = CallsLane(calls=ExtensionCalls(self._journal, self._perform))
            lanes = await enter(open_lane_actors(self._journal, {"human": calls}))
            self._lane = lanes.lane(CALLS)
            self._setup.emit(
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
        assert self._lane is not None
        self._tree = {}
        call_id = self._setup.ids.uuid4()
        request = CallRequested(
            call_id=call_id,
            extension="markdown_text",
            version="1.0.0",
            kind="tool",
            name=arguments["tool"],
            arguments=await kept(self._journal, arguments["arguments"]),
            timeout_ms=None,
            idempotency_key=call_id,
            idempotent=False,
            context=CallContext(call=call_id),
        )
        outcome = await call_on_lane(self._journal, self._lane, request, principal=arguments["human"])
        told = await self._told(outcome)
        self._setup.emit("extension_call_concluded", **told)
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
        self._setup.emit("extension_progress", message=update.message)

    def _emit(self, type: str, /, **fields: Any) -> None:  # noqa: A002 - the name of the field it fills
        worker = fields.get("worker_id")
        if type == "worker_started" and worker is not None:
            self._pids[worker] = fields["pid"]
            self._exits[worker] = trio.Event()
        self._setup.emit(type, **fields)
        if type == "worker_exited" and worker in self._exits:
            self._exits[worker].set()


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(
        source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "pyproject.toml")
    )
