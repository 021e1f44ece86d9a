"""A worker's end of its socket: frames in and out, and what was asked of the node (EXT-14, EXT-15).

Nothing here knows Trio. Handlers may send from any thread they start; reading is done by whoever has to wait.
"""

from __future__ import annotations

import fcntl
import itertools
import mmap
import os
import select
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from web4.ext.failures import NodeBrokenError, NodeGoneError
from web4.worker.frames import (
    HEADER,
    Call,
    Cancel,
    Drain,
    Frame,
    FrameError,
    FrameReader,
    Hello,
    IntentAnswer,
    Ping,
    Pong,
    UiAnswer,
    decode_to_worker,
    encode,
    length_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.worker.frames import ToWorker

Answer = UiAnswer | IntentAnswer

_READ: Final = 64 * 1024
WAITING_CALLS: Final = 64
"""Calls that may wait behind one that polls; beyond them nothing is read until it returns."""


class OpenCall(Protocol):
    """What stops a call: a Trio cancel scope, or nothing for a plain handler."""

    def cancel(self) -> None:
        """Stop it."""


def _at_once() -> None:
    """Wait for nothing."""


class _Question:
    """Something asked of the node, until its call ends."""

    __slots__ = ("answer", "call_id", "wake")

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.answer: Answer | None = None
        self.wake: Callable[[], None] | None = None


class Connection:
    """The socket to the node.

    Args:
        descriptor: Of the socket; owned from now on.
    """

    def __init__(self, descriptor: int) -> None:
        # Both flags through fcntl: a strict sandbox may know no ioctl, which is what Python would use.
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        if flags & os.O_NONBLOCK:
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
        fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
        # Memory that costs nothing before it is used: of most workers no more than a page ever is.
        self._buffer = mmap.mmap(-1, _READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = memoryview(self._buffer)
        self._reader = FrameReader()
        self.buffered = False
        """Whether something was read that nobody has taken."""
        # Looked up once: these are half of what a call costs here.
        self._send = self._socket.send
        self._recv_into = self._socket.recv_into
        # Waited for by poll: who sleeps in recv is woken once more for nothing, when the node has read what was sent
        # here. That costs both ends more than another system call.
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        self._wait: Callable[[], object] = waiting.poll
        self._sending = threading.Lock()
        self._reading = threading.Lock()
        self._thread = threading.get_ident()
        self._asked: dict[str, _Question] = {}
        self._numbers = itertools.count(1)
        self.hello: Hello | None = None
        self.calls: deque[Call] = deque()
        self.open: dict[str, OpenCall | None] = {}
        self.cancelled: set[str] = set()
        self.draining = False
        self.forked = False
        """Whether this is a process that a handler has forked: it has no part in the conversation."""
        _open.add(self)

    def leave(self) -> None:
        """Have no part in the conversation: this is a fork, and two on one socket would both answer."""
        self.forked = True
        self._sending = threading.Lock()  # another thread may have held it
        self._reading = threading.Lock()
        self.close()

    def fileno(self) -> int:
        """The descriptor, to wait for."""
        return self._socket.fileno()

    def number(self) -> str:
        """An id for something that is asked of the node, unique in this worker."""
        return str(next(self._numbers))

    def close(self) -> None:
        """Close the socket. Who reads later is told so at once, whatever its descriptor is by then."""
        self._wait = _at_once
        self._socket.close()
        _open.discard(self)

    # --- sending ----------------------------------------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        """Send one frame. Blocks while the node does not read, which is how a flood is slowed.

        Raises:
            FrameError: It is over the limit, or holds what the protocol does not carry. Nothing was sent.
            NodeGoneError: The socket has ended.
        """
        data = encode(frame)
        try:
            with self._sending:
                sent = self._send(data)
                if sent < len(data):
                    self._socket.sendall(memoryview(data)[sent:])
        except OSError as error:
            raise NodeGoneError(str(error)) from None

    # --- reading ----------------------------------------------------------------------------------------------

    def receive(self, flags: int = 0) -> ToWorker | None:
        """The next frame. None when there is none yet and `flags` says not to wait.

        Raises:
            NodeBrokenError: What came is no frame of the protocol.
            NodeGoneError: The socket has ended.
        """
        try:
            if not self.buffered:
                if not flags:
                    self._wait()
                count = self._recv_into(self._buffer, 0, flags)
                if count > HEADER and length_of(self._view) == count - HEADER:
                    return decode_to_worker(self._view[HEADER:count])  # a frame and no more: no copy of it
                self._feed(count)
            while (body := self._reader.next()) is None:
                self._feed(self._recv_into(self._buffer, 0, flags))
            self.buffered = len(self._reader) > 0
            return decode_to_worker(body)
        except BlockingIOError:
            return None
        except OSError as error:
            raise NodeGoneError(str(error)) from None
        except FrameError as error:
            raise NodeBrokenError(str(error)) from None

    def _feed(self, count: int) -> None:
        if not count:
            raise NodeGoneError("the socket has ended")
        self.buffered = True
        self._reader.feed(self._view[:count])

    def next(self, flags: int = 0) -> ToWorker | None:
        """The next call that waits here, else the next frame; see `receive`. A call behind a drain is not taken."""
        with self._reading:
            if self.calls:
                return self.calls.popleft()
            frame = self.receive(flags)
            while self.draining and type(frame) is Call:
                frame = self.receive(flags)
            return frame

    def poll(self) -> None:
        """Take whatever has come, without waiting. How a plain handler learns that it is cancelled."""
        if not self._reading.acquire(blocking=False):
            return  # another thread reads; what it takes shows here too
        try:
            while len(self.calls) < WAITING_CALLS:
                frame = self.receive(socket.MSG_DONTWAIT)
                if frame is None:
                    return
                self.take(frame)
        finally:
            self._reading.release()

    def take(self, frame: ToWorker) -> None:
        """Do what a frame says that asks for no handler now; a call is put with those that wait."""
        if isinstance(frame, Call):
            if not self.draining:
                self.calls.append(frame)
        elif isinstance(frame, Cancel):
            self._cancel(frame.id)
        elif isinstance(frame, UiAnswer):
            self._answer(frame.request_id, frame)
        elif isinstance(frame, IntentAnswer):
            self._answer(frame.intent_id, frame)
        elif isinstance(frame, Ping):
            self.send(Pong(nonce=frame.nonce))
        elif isinstance(frame, Drain):
            self.draining = True
        elif isinstance(frame, Hello):
            raise NodeBrokenError("a second hello")

    def _cancel(self, call_id: str) -> None:
        if call_id not in self.open:
            # It crossed our answer, or its call waits here still.
            if any(one.id == call_id for one in self.calls):
                self.cancelled.add(call_id)
            return
        self.cancelled.add(call_id)
        handler = self.open[call_id]
        if handler is not None:
            handler.cancel()

    def _answer(self, asked: str, answer: Answer) -> None:
        question = self._asked.get(asked)
        if question is not None:  # else nobody waits for it any more
            question.answer = answer
            if question.wake is not None:
                question.wake()

    # --- calls ------------------------------------------------------------------------------------------------

    def opened(self, call_id: str, call: OpenCall | None) -> None:
        """A handler begins."""
        self.open[call_id] = call

    def closed(self, call_id: str) -> None:
        """A handler has ended: nothing is kept of its call."""
        del self.open[call_id]
        self.cancelled.discard(call_id)
        if self._asked:
            for asked in [key for key, one in self._asked.items() if one.call_id == call_id]:
                del self._asked[asked]

    # --- asking -----------------------------------------------------------------------------------------------

    def ask(self, call_id: str, asked: str, frame: Frame) -> None:
        """Send a question and remember that its answer is waited for; raises as `send`."""
        self._asked[asked] = _Question(call_id)
        try:
            self.send(frame)
        except BaseException:
            del self._asked[asked]
            raise

    def answer_to(self, asked: str) -> Answer | None:
        """The answer; None until it has come."""
        question = self._asked.get(asked)
        return None if question is None else question.answer

    def wake_by(self, asked: str, wake: Callable[[], None]) -> None:
        """Call `wake` when the answer has come."""
        question = self._asked.get(asked)
        if question is not None:
            question.wake = wake

    def wait_for(self, asked: str, call_id: str) -> Answer | None:
        """Block until the answer has come; None when the call was cancelled meanwhile.

        Raises:
            RuntimeError: In a thread that the handler started: only its own reads for it.
        """
        if threading.get_ident() != self._thread:
            raise RuntimeError("wait for an answer in the handler's own thread")
        while True:
            answer = self.answer_to(asked)
            if answer is not None:
                return answer
            if call_id in self.cancelled or call_id not in self.open:
                return None
            with self._reading:
                frame = self.receive()
                if frame is not None:
                    self.take(frame)


_open: Final[set[Connection]] = set()
"""Those of this process. One hook for all of them: a hook lasts as long as the process."""


def _leave() -> None:
    for connection in tuple(_open):
        connection.leave()


os.register_at_fork(after_in_child=_leave)
