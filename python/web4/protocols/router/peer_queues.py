"""One queue per peer: its messages in order, those of others at the same time, none held up by another's handler."""

from __future__ import annotations

import math
from collections import deque
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

from web4.protocols.router.chain import Turn
from web4.protocols.router.patience import Patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Self

    from web4.foundation.events import Emitter
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.router.options import RouterOptions


class _Queue:
    """The messages of one peer that wait, and the one that is handled."""

    __slots__ = ("patience", "peer", "turn", "waiting")

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.waiting: deque[Turn] = deque()
        self.turn: Turn | None = None
        self.patience: Patience | None = None


class PeerQueues:
    """Lets messages be handled. How many wait is bounded by who puts them here: each holds its place in the inbox.

    Args:
        options: See `RouterOptions`.
        handle: Handles a message. It neither raises nor ends the queue.
        give_up: Concludes a message whose handler neither ended nor yielded; that runs on, and nobody listens.
        emit: Gets an `error` event for each such handler.
    """

    def __init__(
        self,
        options: RouterOptions,
        *,
        handle: Callable[[Turn], Awaitable[None]],
        give_up: Callable[[Turn], Awaitable[None]],
        emit: Emitter,
    ) -> None:
        self._options = options
        self._handle = handle
        self._give_up = give_up
        self._emit = emit
        self._queues: dict[str, _Queue] = {}
        self._ready: deque[_Queue] = deque()
        self._active = 0
        self._abandoned = 0
        self._count = 0
        self._nursery: trio.Nursery | None = None
        self._stirred = trio.lowlevel.ParkingLot()
        self._sooner = trio.lowlevel.ParkingLot()
        self._looks_at = math.inf
        """When the watch looks next, in Trio's time."""

    def __len__(self) -> int:
        return self._count

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Handle messages inside the block; leaving it cancels what runs."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._watch)
            try:
                yield self
                nursery.cancel_scope.cancel()
            finally:
                self._nursery = None

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run something beside the queues, until the block is left.

        Raises:
            RuntimeError: The block was not entered, or was left.
        """
        if self._nursery is None:
            raise RuntimeError("the router does not run")
        self._nursery.start_soon(function)

    def put(self, delivery: Delivery) -> None:
        """Let a message wait for its turn."""
        self._count += 1
        queue = self._queues.get(delivery.peer)
        if queue is None:
            queue = self._queues[delivery.peer] = _Queue(delivery.peer)
            self._ready.append(queue)
            self._start()
        queue.waiting.append(Turn(delivery))

    def _start(self) -> None:
        while self._ready and self._active < self._options.peers:
            self._active += 1
            self.start_soon(partial(self._work, self._ready.popleft(), None))
            self._stirred.unpark_all()

    async def _work(self, queue: _Queue, abandoned: Turn | None) -> None:
        if abandoned is not None:
            await self._give_up(abandoned)
            self._count -= 1
        with Patience(self._alarm) as patience:
            queue.patience = patience
            while queue.waiting:
                turn = queue.turn = queue.waiting.popleft()
                turn.patience = patience
                await self._handle(turn)
                if turn.abandoned:
                    self._abandoned -= 1
                    return  # another task has gone on with this queue
                queue.turn = None
                self._count -= 1
                if self._ready:
                    break  # others have waited longer
        self._active -= 1
        if queue.waiting:
            self._ready.append(queue)
        else:
            del self._queues[queue.peer]
        self._start()

    def _alarm(self, due: float) -> None:
        """Have the watch look at `due`, at the latest."""
        if due < self._looks_at:
            self._looks_at = due
            self._sooner.unpark_all()

    async def _watch(self) -> None:
        """Cancel handlers that take too long, and find those that do not end then: foreign code can shield itself."""
        while True:
            if not self._active:
                self._looks_at = math.inf
                await self._stirred.park()
            dues = [queue.patience.due for queue in self._queues.values() if queue.patience is not None]
            # One that is over already counts too: it ended while the others were looked at.
            self._looks_at = min([trio.current_time() + self._options.grace_ms / 1_000, *dues])
            with trio.move_on_at(self._looks_at):
                await self._sooner.park()
            now = trio.current_time()
            for queue in list(self._queues.values()):
                if queue.patience is not None and queue.patience.due <= now:
                    queue.patience.expire()
                    continue  # it can end now; whether it does shows the next time
                turn = queue.turn
                if turn is None or turn.abandoned or now < turn.stuck_at:
                    continue
                if self._abandoned >= self._options.abandoned:
                    continue
                turn.abandoned = True
                self._abandoned += 1
                self._emit(
                    "error",
                    severity="error",
                    peer=queue.peer,
                    msg_id=turn.msg_id,
                    where="handler",
                    code="handler_abandoned",
                    detail=f"{self._abandoned} run on",
                )
                self.start_soon(partial(self._work, queue, turn))
