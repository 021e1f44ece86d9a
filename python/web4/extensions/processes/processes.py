"""The worker processes of a node: one template, any number of workers, and nothing left of them (EXT-35, EXT-41)."""

from __future__ import annotations

import os
import signal
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import trio

from web4.extensions.errors import WorkerStartError
from web4.extensions.processes import kernel
from web4.extensions.processes.channels import Channels
from web4.extensions.processes.groups import WorkerGroups
from web4.extensions.processes.removal import Removal, remove_empty
from web4.extensions.processes.runtime import Runtime
from web4.extensions.processes.template import TemplateGone
from web4.extensions.processes.templates import Templates
from web4.extensions.processes.worker_process import WorkerProcess
from web4.foundation.events import IsolatedEmitter, no_events
from web4.foundation.ids import SystemIds
from web4.worker import forking
from web4.worker.request import CommandEntry, Entered, NotEntered, PythonEntry, WorkerRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from pathlib import Path

    from web4.extensions.processes.groups import Hierarchy
    from web4.extensions.processes.kernel import KernelReport
    from web4.extensions.processes.spec import Exit, StartSpec
    from web4.extensions.processes.template import Template
    from web4.foundation.events import Emitter
    from web4.foundation.ids import IdSource

SERVE: Final = "web4.ext.serving:serve"
PRELOAD: Final = ("web4.ext.serving", "web4.ext.serving_async", "web4.ext.rehearsal:rehearse")
"""What every Python extension needs, once for all of them."""
Mechanism = Literal["cgroup", "pid_namespace"]
_STEP: Final = 2_000
_CLOSE_SECONDS: Final = 20.0
_FIRST_LOOK: Final = 0.0005
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


class Processes:
    """Starts workers and owns them. `open_processes` makes it."""

    def __init__(
        self,
        runtime: Runtime,
        templates: Templates,
        nursery: trio.Nursery,
        emit: Emitter,
        ids: IdSource,
        without: frozenset[Mechanism] = frozenset(),
    ) -> None:
        self._runtime = runtime
        self._templates = templates
        self._nursery = nursery
        self._emit = emit
        self._ids = ids
        self._without = without
        self._cleaners = trio.CapacityLimiter(1)
        self._living: dict[WorkerProcess, trio.CancelScope] = {}
        self._closed = False
        self._all_gone = trio.Event()

    @property
    def living(self) -> int:
        """Workers of which something lives."""
        return len(self._living)

    @property
    def template_pid(self) -> int | None:
        """Process id of the template that forks now; None between two of them."""
        return self._templates.current.pid if self._templates.current is not None else None

    def kernel(self) -> KernelReport:
        """What this machine gives to workers; by the last template that came up."""
        found = self._templates.prepared
        if found is not None and "pid_namespace" in self._without:
            found = msgspec.structs.replace(found, pid_namespace="off")
        return kernel.report(found, self._hierarchies, ready=self._templates.current is not None)

    @property
    def _hierarchies(self) -> tuple[Hierarchy, ...]:
        return () if "cgroup" in self._without else self._runtime.hierarchies

    async def start(self, spec: StartSpec) -> WorkerProcess:
        """Start a worker; it is about to run the first line of the extension.

        The time it may take is the caller's to bound. A cancelled start leaves nothing: what there is of the worker
        is killed, and reaped in the background.

        Raises:
            WorkerStartError: It did not start, with one of the codes of that error.
        """
        if self._closed:
            raise WorkerStartError("the node is leaving")
        if (refusal := forking.refusal()) is not None:
            raise WorkerStartError(refusal)
        began = time.monotonic()
        worker_id = self._ids.uuid4()
        try:
            tmp = self._runtime.make_tmp(worker_id, spec.user)
        except OSError as error:
            raise WorkerStartError(f"no private directory: {error}") from None
        try:
            worker, warm = await self._fork_once_more(spec, worker_id, tmp)
        except BaseException:
            with suppress(OSError):
                os.rmdir(tmp)  # noqa: PTH106 - nobody has had it
            raise
        try:
            await self._enter(worker, spec, began)
        except BaseException:
            worker.close()
            raise
        finally:
            worker.close_report()
        self._tell_started(worker, spec, warm=warm)
        if worker.exit is not None:  # before its report was read
            self._tell_exited(worker, spec, worker.exit)
        return worker

    async def _fork_once_more(self, spec: StartSpec, worker_id: str, tmp: str) -> tuple[WorkerProcess, bool]:
        """Fork from the template; when it dies over it, cold."""
        for cold in (False, True):
            try:
                async with self._templates.use(cold=cold) as (template, warm):
                    return await self._fork(template, spec, worker_id, tmp), warm
            except TemplateGone as error:
                if cold:
                    raise WorkerStartError(f"no template to fork it from: {error}") from None
        raise AssertionError("unreachable")

    async def _fork(self, template: Template, spec: StartSpec, worker_id: str, tmp: str) -> WorkerProcess:
        request, groups = self._request(template, spec, worker_id, tmp)
        try:
            channels = Channels(warden=request.warden)
        except OSError as error:
            raise WorkerStartError(f"no descriptors for it: {error}") from None
        try:
            channels.pass_environment(spec.environment)
            root = await template.fork(request, channels.theirs)
            channels.close_theirs()
            worker = WorkerProcess(request, channels, groups, root)
        except OSError as error:  # it has ended already, or there is no descriptor left to hold it by
            channels.close()
            _abandon(root)
            raise WorkerStartError(f"it was forked and lost: {error}") from None
        except BaseException:
            channels.close()
            raise
        scope = self._living[worker] = trio.CancelScope(shield=True)
        self._nursery.start_soon(self._own, worker, spec, scope)
        if self._closed:  # meanwhile
            self._end(worker, scope)
        return worker

    def _request(
        self, template: Template, spec: StartSpec, worker_id: str, tmp: str
    ) -> tuple[WorkerRequest, WorkerGroups]:
        assert template.prepared is not None
        without = spec.sandbox.without
        kept = template.prepared.seccomp and not {"seccomp", "processes"} & set(without)
        forks = spec.limits.processes > 1 or not kept  # one that cannot be kept from forking may
        # What executes programs can do so from a thread: the parent-death signal is gone then (EXT-34).
        warden = forks or isinstance(spec.entry, CommandEntry)
        hierarchies = _chosen(self._hierarchies, without, warden=warden)
        groups = WorkerGroups(hierarchies, worker_id)
        namespace = (
            warden
            and template.prepared.pid_namespace != "off"
            and "pid_namespace" not in self._without
            and "tree_kill" not in without
        )
        request = WorkerRequest(
            worker_id=worker_id,
            extension=spec.extension,
            entry=spec.entry,
            directory=spec.directory,
            tmp=tmp,
            environment=_environment(tmp),
            limits=spec.limits,
            sandbox=spec.sandbox,
            user=spec.user,
            groups=groups.directories,
            warden=warden,
            pid_namespace=namespace,
            forks=forks,
        )
        return request, groups

    async def _enter(self, worker: WorkerProcess, spec: StartSpec, began: float) -> None:
        """Wait for the worker's report."""
        try:
            told = await worker.next_report()
            report, pid = told if told is not None else (None, 0)
            if isinstance(report, Entered):
                worker.entered(pid, report.protections, round((time.monotonic() - began) * 1e3, 3))
                if isinstance(spec.entry, PythonEntry):
                    return
                told = await worker.next_report()
                if told is None:  # an execution closes the report: the program runs
                    return
        except (ValueError, msgspec.MsgspecError) as error:
            raise WorkerStartError(f"an unreadable report of its start: {error}") from None
        if told is not None and isinstance(told[0], NotEntered):
            raise WorkerStartError(told[0].reason, code=told[0].code)
        ended = await worker.wait()
        raise WorkerStartError(f"it ended before its sandbox was complete: {_how(ended)}")

    async def _own(self, worker: WorkerProcess, spec: StartSpec, scope: trio.CancelScope) -> None:
        """Stand by one worker to its end, and clean up after it. Only `close` cuts it short."""
        with scope:
            ended = await worker.reap()
            if worker.told_started:
                self._tell_exited(worker, spec, ended)
            worker.tell_gone()
            await self._clean(worker)
        del self._living[worker]
        if not self._living:
            self._all_gone.set()

    async def _clean(self, worker: WorkerProcess) -> None:
        pause = _FIRST_LOOK
        while not worker.remove_groups():  # a moment may pass between the last process and an empty group
            await trio.sleep(pause)
            pause = min(2 * pause, 1.0)
        removal = Removal(worker.tmp)
        try:
            if not remove_empty(worker.tmp):
                await trio.to_thread.run_sync(_finish, removal, limiter=self._cleaners)
        except OSError as error:
            reason = f"{type(error).__name__}: {error.strerror}"
            self._emit("worker_leftovers", severity="warning", worker_id=worker.worker_id, reason=reason)
        finally:
            removal.close()

    def _tell_started(self, worker: WorkerProcess, spec: StartSpec, *, warm: bool) -> None:
        self._emit(
            "worker_started",
            severity="warning" if worker.protections.missing or spec.sandbox.level == "none" else "info",
            worker_id=worker.worker_id,
            extension=spec.extension,
            generation=spec.generation,
            pid=worker.pid,
            start_ms=worker.start_ms,
            warm=warm,
            protections=msgspec.to_builtins(worker.protections),
        )
        worker.told_started = True

    def _tell_exited(self, worker: WorkerProcess, spec: StartSpec, ended: Exit) -> None:
        self._emit(
            "worker_exited",
            worker_id=worker.worker_id,
            extension=spec.extension,
            exit_status=ended.status,
            signal=ended.signal,
            reason=ended.reason,
            calls=worker.calls,
            oom=ended.oom,
            peak_memory_bytes=ended.peak_memory_bytes,
            cpu_ms=ended.cpu_ms,
        )

    def _end(self, worker: WorkerProcess, scope: trio.CancelScope) -> None:
        worker.kill("closed")
        scope.deadline = trio.current_time() + _CLOSE_SECONDS

    async def close(self) -> None:
        """Kill every worker and wait for the end of each; nothing is started any more."""
        self._closed = True
        if not self._living:
            self._all_gone.set()
        for worker, scope in self._living.items():
            self._end(worker, scope)
        with trio.CancelScope(shield=True):
            await self._all_gone.wait()


@asynccontextmanager
async def open_processes(
    *,
    runtime: Path | None = None,
    emit: Emitter = no_events,
    ids: IdSource | None = None,
    preload: tuple[str, ...] = PRELOAD,
    serve: str = SERVE,
    without: Collection[Mechanism] = (),
) -> AsyncIterator[Processes]:
    """Start a template, and from it workers. At the end every worker is dead and reaped, and all is removed.

    It is left in a Trio task of a thread that lives as long as the workers shall: the kernel ends them with the thread
    (EXT-34). It touches no signal of the program, becomes no subreaper, and waits for no child but its own.

    Args:
        runtime: A directory of the node's own for what workers write, and for finding what a killed run left; None
            for `web4-<uid>` in the system's temporary directory.
        emit: Told `worker_started`, `worker_exited` (EXT-40), of the template, and of leftovers.
        ids: Names workers and this run.
        preload: Modules for the template to import: what most workers need. Never an extension's.
        serve: `module:function` that runs a Python extension in its worker.
        without: What to do without though the machine may have it: how a test proves the others.

    Raises:
        WorkerStartError: The runtime directory cannot be used.
    """
    ids = ids or SystemIds()
    emit = IsolatedEmitter(emit)  # one that raised would take the reaping of a worker with it
    own: BaseException | None = None
    place = await trio.to_thread.run_sync(Runtime, runtime, ids.uuid4())
    try:
        async with trio.open_nursery() as nursery:
            templates = Templates(preload, serve, emit)
            processes = Processes(place, templates, nursery, emit, ids, frozenset(without))
            try:
                nursery.start_soon(_remove_leftovers, place, emit)
                if (refusal := forking.refusal()) is None:
                    await nursery.start(templates.keep)
                else:
                    emit("worker_template_exited", severity="warning", reason=refusal)
                yield processes
            except BaseException as error:
                own = error
                raise
            finally:
                await processes.close()
                nursery.cancel_scope.cancel()
        return
    except BaseExceptionGroup as group:
        foreign = group.split(lambda error: error is own or isinstance(error, trio.Cancelled))[1]
        raised = group if own is None or foreign is not None else own
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(place.close)
    raise raised  # out here, so that the group does not become the context of what was in it


async def _remove_leftovers(place: Runtime, emit: Emitter) -> None:
    found = await trio.to_thread.run_sync(place.remove_leftovers)
    if found.runs:
        emit("worker_leftovers_removed", runs=found.runs, directories=found.directories, groups=found.groups)


def _finish(removal: Removal) -> None:
    while not removal.step(_STEP):
        pass


def _chosen(
    hierarchies: tuple[Hierarchy, ...], without: tuple[str, ...], *, warden: bool
) -> tuple[Hierarchy, ...]:
    """The hierarchies of use to a worker. One that cannot fork needs nobody to count or kill its children."""
    if "cgroup" in without:
        return ()
    wanted = {"memory", "pids"} if warden else {"memory"}
    wanted -= {"memory"} if "memory" in without else set()
    return tuple(
        one
        for one in hierarchies
        if one.controllers & wanted or (warden and one.kills and "tree_kill" not in without)
    )


def _abandon(root: int) -> None:
    """End a process that cannot be watched. A killed one is reaped within a millisecond or so."""
    with suppress(OSError):
        os.waitid(
            os.P_PID, root, os.WEXITED | os.WNOHANG | os.WNOWAIT
        )  # else the number may be another's by now
        os.kill(root, signal.SIGKILL)
        os.waitpid(root, 0)


def _environment(tmp: str) -> dict[str, str]:
    """What every worker has. No Python that it starts believes caches beside sources: no digest covers them (EXT-7)."""
    own = {"HOME": tmp, "TMPDIR": tmp, "PYTHONPYCACHEPREFIX": f"{tmp}/pycache"}
    return {"PATH": _PATH, "LANG": "C.UTF-8", **own}


def _how(ended: Exit) -> str:
    if ended.signal is not None:
        return f"signal {ended.signal}"
    return "it cannot be told how" if ended.status is None else f"exit status {ended.status}"
