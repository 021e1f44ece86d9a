"""The node's end of a template process (EXT-35)."""

from __future__ import annotations

import json
import mmap
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from web4.extensions.errors import WorkerStartError
from web4.extensions.processes.import_paths import import_paths
from web4.worker.forking import Slots
from web4.worker.template import (
    FROM_TEMPLATE,
    MAX_MESSAGE,
    SLOTS_BYTES,
    Fork,
    Forked,
    NotForked,
    Orders,
    Prepared,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from web4.worker.request import WorkerRequest

PREPARE_SECONDS: Final = 20
"""How long a template may take to come up."""
ANSWER_SECONDS: Final = 10
"""How long a template may take to fork. One that takes longer is stopped, or worse, and is replaced."""
_BOOT: Final = (
    "import json,sys; orders=sys.argv[1]; sys.path[:]=json.loads(orders)['path']; sys.argv[:]=['web4-template'];"
    "from web4.worker.template import main; main(orders)"
)
_ENCODER: Final = msgspec.msgpack.Encoder()


class TemplateGone(Exception):  # noqa: N818 - it is a state: there may be another
    """The template ended, or was ended, before it answered."""


class Template:
    """A running template. One request at a time: it forks one after the other anyway."""

    def __init__(self, preload: Sequence[str], serve: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = os.memfd_create("web4-slots", os.MFD_CLOEXEC)
        try:
            os.ftruncate(memory, SLOTS_BYTES)
            path, program = import_paths()
            self._memory = mmap.mmap(memory, SLOTS_BYTES)
            orders = Orders(
                path=path,
                program=program,
                control=theirs.fileno(),
                slots=memory,
                preload=list(preload),
                serve=serve,
            )
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter that runs this
                [sys.executable, "-I", "-X", "utf8", "-c", _BOOT, json.dumps(msgspec.to_builtins(orders))],
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), memory),
                start_new_session=True,
                cwd="/",
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(memory)
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except OSError:
            ours.close()
            self._process.kill()
            self._process.wait()
            raise
        ours.setblocking(False)
        self._control = ours
        self._slots = Slots(self._memory)
        self._turn = trio.Lock()
        self._last: int | None = None
        self.prepared: Prepared | None = None
        """What it said when it was ready; None before."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def prepare(self) -> Prepared:
        """Wait until it forks.

        Raises:
            TemplateGone: It did not come up, or not in time.
        """
        with trio.move_on_after(PREPARE_SECONDS):
            answer = await self._answer()
            if isinstance(answer, Prepared):
                self.prepared = answer
                return answer
        raise TemplateGone("it did not come up in time")

    async def fork(self, request: WorkerRequest, ends: Sequence[int]) -> int:
        """Have a process forked; its id. Waiting for one's turn can be cancelled, the fork itself cannot.

        Raises:
            TemplateGone: The template died, and there is no such process.
            WorkerStartError: The kernel refused, or the request is too large.
        """
        message = _ENCODER.encode(Fork(request=request, slot=0))
        if len(message) > MAX_MESSAGE:
            raise WorkerStartError(
                f"{len(message)} bytes of request are more than {MAX_MESSAGE}: its environment?"
            )
        async with self._turn:
            if self._last is not None:
                raise TemplateGone("it ended")
            self._slots[0] = 0
            try:
                answer = await self._ask(message, ends)
            except TemplateGone:
                if left := self._left():  # it died behind the fork, and the kernel had left the number before
                    return left
                raise
            return _forked(answer)

    def kill(self) -> None:
        """End it. Its workers live on (EXT-36)."""
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return

    async def wait(self) -> int:
        """Wait until it has ended, and reap it; its exit status, negative for a signal."""
        await trio.lowlevel.wait_readable(self._pidfd)
        return self._process.poll() or 0

    def close(self) -> None:
        """Give back what the node holds of it. It has ended."""
        for end in (self._control, self._pidfd):
            trio.lowlevel.notify_closing(end)
        self._control.close()
        os.close(self._pidfd)
        self._last = self._slots[0]
        self._slots.close()
        self._memory.close()

    def _left(self) -> int:
        """What the kernel left in the slot, be the memory closed by now or not."""
        return self._slots[0] if self._last is None else self._last

    async def _ask(self, message: bytes, ends: Sequence[int]) -> Prepared | Forked | NotForked:
        answer: Prepared | Forked | NotForked | None = None
        with trio.CancelScope(shield=True):
            with trio.move_on_after(ANSWER_SECONDS):
                await self._send(message, ends)
                answer = await self._answer()
            if answer is None:
                self.kill()
                answer = await self._answer()  # sent before it died; or it is gone
        assert answer is not None, "what is shielded ends"
        return answer

    async def _send(self, message: bytes, ends: Sequence[int]) -> None:
        while True:
            if self._control.fileno() < 0:  # closed, while this waited for its turn or for room
                raise TemplateGone("it ended")
            try:
                socket.send_fds(self._control, [message], list(ends))
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._control)
            except (BrokenPipeError, ConnectionResetError) as error:
                raise TemplateGone(str(error)) from None
            except OSError as error:  # too many descriptors on their way, no memory for them
                raise WorkerStartError(f"no fork: {error}") from None
            else:
                return

    async def _answer(self) -> Prepared | Forked | NotForked:
        while True:
            try:
                message = self._control.recv(MAX_MESSAGE)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._control)
                continue
            except OSError as error:
                raise TemplateGone(str(error)) from None
            if not message:
                raise TemplateGone("it ended")
            answer: Prepared | Forked | NotForked = FROM_TEMPLATE.decode(message)
            return answer


def _forked(answer: Prepared | Forked | NotForked) -> int:
    if isinstance(answer, Forked):
        return answer.pid
    raise WorkerStartError(f"no fork: {answer.reason}" if isinstance(answer, NotForked) else "no fork")


@asynccontextmanager
async def open_template(preload: Sequence[str], serve: str) -> AsyncIterator[Template]:
    """Start a template and wait until it forks; end it at the end.

    Raises:
        TemplateGone: It did not come up.
        OSError: The interpreter could not be executed.
    """
    template = Template(preload, serve)
    try:
        await template.prepare()
        yield template
    finally:
        template.kill()
        with trio.CancelScope(shield=True):
            await template.wait()
        template.close()
