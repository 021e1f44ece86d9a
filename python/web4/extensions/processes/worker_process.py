"""One worker process, from the moment that it runs to the moment that nothing is left of it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from web4.extensions.processes.spec import Exit, Usage
from web4.worker.descendants import descendants
from web4.worker.warden import ENDED_DECODER, Ended

if TYPE_CHECKING:
    import socket

    from web4.extensions.processes.channels import Channels
    from web4.extensions.processes.groups import WorkerGroups
    from web4.worker.request import Protections, Report, WorkerRequest

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_EMPTY_SECONDS: Final = 0.0002
"""Between two looks whether a control group has emptied; doubled each time, up to `_EMPTY_LONGEST`."""
_EMPTY_LONGEST: Final = 0.01


class WorkerProcess:
    """A worker and all that descends from it. `Processes.start` makes it.

    The socket and the two pipes are the caller's to read, in its own tasks, until `close`. Exactly one task may wait
    on each of them.
    """

    def __init__(self, request: WorkerRequest, channels: Channels, groups: WorkerGroups, root: int) -> None:
        self._request = request
        self._channels = channels
        self._groups = groups
        self._root = root
        self._alone = not request.warden
        self._pidfd = os.pidfd_open(root)
        self._statm = -1
        self._reason: str | None = None
        self._ended: Ended | None = None
        self._gone = trio.Event()
        self._protections: Protections | None = None
        self.worker_id = request.worker_id
        """Of the node's making."""
        self.tmp = request.tmp
        """Its private directory. It is removed after the worker has ended."""
        self.pid = root
        """Of the worker's first process, in the node's namespace."""
        self.start_ms = 0.0
        """From the call of `start` to a complete sandbox, milliseconds."""
        self.told_started = False
        """Whether `worker_started` was said of it; then `worker_exited` will be."""
        self.calls = 0
        """Calls it was given; counted by whoever gives them, for `worker_exited`."""
        self.exit: Exit | None = None
        """How it ended; None while anything of it lives."""

    @property
    def socket(self) -> socket.socket:
        """The node's end of the protocol's socket, non-blocking."""
        return self._channels.socket

    @property
    def stdout(self) -> int:
        """The read end of its standard output, non-blocking."""
        return self._channels.stdout

    @property
    def stderr(self) -> int:
        """The read end of its standard error, non-blocking."""
        return self._channels.stderr

    @property
    def protections(self) -> Protections:
        """What is in force in it (EXT-32)."""
        assert self._protections is not None, "start() returns no worker that has not reported"
        return self._protections

    def kill(self, reason: str) -> None:
        """Kill the whole tree (EXT-21). Returns at once; `wait` returns when it is done. Later calls change nothing.

        Args:
            reason: For `Exit.reason`; the first one counts.
        """
        if self.exit is not None:
            return
        if self._reason is None:
            self._reason = reason
        self._groups.kill()
        if self._channels.control is not None and not self._request.pid_namespace:
            # A subreaper must outlive its tree: it is told by the end of its socket, and may have been stopped.
            with suppress(OSError):
                self._channels.control.shutdown(_SHUT_WR)
            self._signal(signal.SIGCONT)
        else:
            self._signal(signal.SIGKILL)

    async def wait(self) -> Exit:
        """Wait until no descendant exists and all is reaped (EXT-22). Any number of tasks may; all can be cancelled."""
        await self._gone.wait()
        assert self.exit is not None
        return self.exit

    def usage(self, earlier: Usage | None = None) -> Usage:
        """What the tree uses now. Costs a few microseconds when it is one process.

        Args:
            earlier: A look from which the number of descriptors is taken over: of one process they are most of the
                cost.
        """
        if self.exit is not None:
            return Usage(None, None, None, None)
        if self._alone:
            opened = self._descriptors() if earlier is None else earlier.descriptors
            try:
                cpu: int | None = time.clock_gettime_ns((~self.pid << 3) | 2)
                return Usage(cpu, int(os.pread(self._statm, 128, 0).split(None, 2)[1]) * _PAGE, opened, 1)
            except (OSError, IndexError):  # it ends: what is left of it
                return Usage(self._cpu_ns(self.pid), None, opened, 1)
        members = self._groups.processes()
        if members is None:
            members = descendants(self._root)
        members = [pid for pid in members if pid not in (self._root, 0)]
        cpu = self._groups.cpu_ns()
        if cpu is None:
            cpu = sum(self._cpu_ns(pid) or 0 for pid in members)
        resident = sum(_resident(pid) for pid in members)
        return Usage(cpu, resident, self._descriptors(), len(members))

    def close(self) -> None:
        """Give back its descriptors; kill it if it lives. What it wrote and nobody read is lost."""
        self.kill("closed")
        self._channels.close_protocol()

    async def next_report(self) -> tuple[Report, int] | None:
        """See `Channels.next_report`."""
        return await self._channels.next_report()

    def close_report(self) -> None:
        """It says no more of its start."""
        self._channels.close_report()

    # --- what Processes does with it ---------------------------------------------------------------------------

    def entered(self, pid: int, protections: Protections, start_ms: float) -> None:
        """Its sandbox is complete."""
        self.pid, self._protections, self.start_ms = pid, protections, start_ms
        if self.exit is not None:  # already; and its number may be another's
            return
        with suppress(OSError):
            self._statm = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)

    async def reap(self) -> Exit:
        """Wait for the end, and learn what can be learnt. Once, by the task that owns it."""
        await trio.lowlevel.wait_readable(self._pidfd)
        status, cpu, peak = _wait4(self._root, self._pidfd)
        self._hear_warden()
        self._groups.kill()
        pause = _EMPTY_SECONDS
        while self._groups.processes():  # killed, but not gone yet
            await trio.sleep(pause)
            pause = min(2 * pause, _EMPTY_LONGEST)
        group_cpu, group_peak = self._groups.cpu_ns(), self._groups.peak_memory()
        self.exit = self._told(
            status,
            oom=self._groups.ran_out_of_memory(),
            peak=group_peak if group_peak is not None else peak,
            cpu=group_cpu / 1e9 if group_cpu is not None else cpu,
        )
        os.close(self._pidfd)
        if self._statm >= 0:
            os.close(self._statm)
        self._channels.close_control()
        return self.exit

    def tell_gone(self) -> None:
        """Let `wait` return."""
        self._gone.set()

    def remove_groups(self) -> bool:
        """Remove its control groups; whether none is left."""
        return self._groups.remove()

    # --- inside ------------------------------------------------------------------------------------------------

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def _hear_warden(self) -> None:
        control = self._channels.control
        while control is not None:
            try:
                message = control.recv(4096)
            except OSError:
                return
            if not message:
                return
            ended = ENDED_DECODER.decode(message)
            if self._ended is None or ended.exceeded:
                self._ended = ended

    def _told(self, status: int | None, *, oom: bool, peak: int | None, cpu: float | None) -> Exit:
        code = None if status is None else os.waitstatus_to_exitcode(status)
        ended = self._ended
        if ended is None and code is not None:  # a warden that was killed with its tree speaks for it
            ended = Ended(status=code) if code >= 0 else Ended(signal=-code)
        exit_status, number = (ended.status, ended.signal) if ended is not None else (None, None)
        reason = self._reason
        if reason is None:
            reason = "processes" if ended and ended.exceeded else "signalled" if number else "exited"
        return Exit(
            status=exit_status,
            signal=number,
            reason=reason,
            oom=oom,
            peak_memory_bytes=peak,
            cpu_ms=None if cpu is None else round(cpu * 1e3, 3),
        )

    def _cpu_ns(self, pid: int) -> int | None:
        try:
            return time.clock_gettime_ns((~pid << 3) | 2)  # the clock of all threads of that process
        except OSError:
            return None

    def _descriptors(self) -> int | None:
        try:
            counted = os.stat(f"/proc/{self.pid}/fd").st_size  # noqa: PTH116 - a few microseconds matter here
            return counted or len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - before Linux 6.2 it is 0
        except OSError:
            return None


_SHUT_WR: Final = 1


def _wait4(pid: int, pidfd: int) -> tuple[int | None, float | None, int | None]:
    """Reap: wait status, processor seconds, peak bytes. All None when somebody else in this program was faster."""
    try:
        found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None, None, None
        reaped, status, used = os.wait4(pid, os.WNOHANG)
    except ChildProcessError:
        return None, None, None
    if reaped != pid:
        return None, None, None
    return status, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:  # noqa: PTH123 - as above
            return int(file.read(128).split(None, 2)[1]) * _PAGE
    except (OSError, IndexError):
        return 0
