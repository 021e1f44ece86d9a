"""All relay streams of a node: who they are with, what arrives for them, what they say, and their time (MESH-1)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

import trio

from web4.mesh.errors import NoRoute
from web4.mesh.relay.flow import FlowBroken, FlowLimits, RelayFlow
from web4.mesh.relay.stream import RelayStream
from web4.protocols.messages.mesh import MeshRelay

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from web4.foundation.clock import Clock
    from web4.foundation.ids import IdSource

BACKLOG: Final = 64
"""Streams that wait to be accepted; more are reset."""
PER_PEER: Final = 16
"""Streams with one peer at once; more are reset."""
IN_ALL: Final = 4_096
"""Streams with all peers together."""
MOST_PATIENT: Final = 2
"""How often the deadlines of streams with a peer are doubled: then an opening has as long as RTT gives it."""
STEADY_MS: Final = 10_000
"""A stream that lived so long has shown that its deadlines are right."""


class Carriage(Protocol):
    """What the hub needs of the node: a way for what it says."""

    def say(self, peer: str, part: MeshRelay, via: str | None) -> bool:
        """Put a part on its way; False if there is none. `via`: the neighbour to begin with, if that leads there."""
        ...

    def full(self, peer: str, via: str | None) -> bool:
        """Whether what is said to `peer` would wait behind too much."""
        ...

    async def wait_for_room(self, peer: str, via: str | None) -> None:
        """Wait while it is full, or until the way is another one."""
        ...

    def dead(self, peer: str, via: str | None) -> None:
        """Nobody answers on the way that is taken to `peer`."""
        ...


class RelayHub:
    """The streams by (peer, id).

    Args:
        carriage: See `Carriage`.
        clock: Where time comes from.
        ids: Where stream ids come from.
        limits: See `FlowLimits`.
    """

    def __init__(
        self, carriage: Carriage, *, clock: Clock, ids: IdSource, limits: FlowLimits | None = None
    ) -> None:
        self.limits = limits or FlowLimits()
        self.refused: Counter[str] = Counter()
        """Streams that were not taken in, by the reason."""
        self._carriage = carriage
        self._clock = clock
        self._ids = ids
        self._streams: dict[tuple[str, str], RelayStream] = {}
        self._with: Counter[str] = Counter()
        self._impatient: dict[str, int] = {}
        self._opening: dict[tuple[str, str], trio.Event] = {}
        self._news = trio.Event()
        self._wakes_ms = float("inf")
        self._accept: Callable[[RelayStream], bool] | None = None

    def __len__(self) -> int:
        return len(self._streams)

    def now_ms(self) -> float:
        """Time here, monotonic, milliseconds."""
        return self._clock.monotonic_ns() / 1e6

    def listen(self, accept: Callable[[RelayStream], bool] | None) -> None:
        """Offer streams that others open to `accept`, which says whether it takes them; None: to nobody."""
        self._accept = accept

    # --- streams ----------------------------------------------------------------------------------------

    async def connect(self, peer: str) -> RelayStream:
        """Open a stream to a peer, and wait until it answers. Cancelled, it leaves nothing open.

        Raises:
            NoRoute: `no_route`, or `no_answer`.
        """
        await trio.lowlevel.checkpoint()
        stream = RelayStream(self, peer, RelayFlow(self._ids.uuid4(), self._limits_with(peer)))
        key = self._keep(stream)
        self._opening[key] = answered = trio.Event()
        try:
            if not self._carriage.say(peer, stream.flow.opening(self.now_ms()), None):
                stream.break_off(FlowBroken("no_route", tell=False))
                raise NoRoute("no way leads there now", code="no_route", peer=peer)
            self.attend(stream)
            await answered.wait()
            if stream.broken is not None:
                raise NoRoute(f"the other end is not there: {stream.broken}", code="no_answer", peer=peer)
        except BaseException:
            stream.close()
            raise
        finally:
            self._opening.pop(key, None)
        return stream

    def arrive(self, peer: str, part: MeshRelay, via: str | None = None) -> None:
        """A part for this node came from `peer`, its origin; `via` is the neighbour who handed it over.

        Who opens a stream chooses its way, and the other end answers the way that it is asked: then silence tells who
        opened it that this way is bad, and it takes another (MESH-5).
        """
        key = (peer, part.stream)
        stream = self._streams.get(key)
        if stream is None:
            if part.kind == "open":
                self._opened(peer, part, via)
            elif part.kind in ("data", "window"):
                self._carriage.say(peer, MeshRelay(stream=part.stream, kind="reset", offset=0), via)
            return
        if part.kind == "open":
            return  # said again by somebody on the way
        if stream.accepted:
            stream.via = via
        stream.feed(part)
        if (answered := self._opening.get(key)) is not None:
            answered.set()
        self.attend(stream)

    def break_over(self, neighbour: str, peers: Collection[str]) -> None:
        """A neighbour is gone: streams over it break now, not when nobody answers (MESH-5).

        Args:
            neighbour: Who is gone.
            peers: To whom the way of this node began with it.
        """
        for stream in list(self._streams.values()):
            if stream.via == neighbour or (stream.via is None and stream.peer in peers):
                stream.break_off(FlowBroken("rerouted"))

    def close(self) -> None:
        """Break every stream."""
        for stream in list(self._streams.values()):
            stream.break_off(FlowBroken("shutdown"))

    # --- what streams need ------------------------------------------------------------------------------

    def say(self, stream: RelayStream, part: MeshRelay) -> None:
        """Put a part on its way. What finds none is lost, and the stream notices."""
        self._carriage.say(stream.peer, part, stream.via)
        self.attend(stream)

    async def room_for(self, stream: RelayStream, also: trio.lowlevel.ParkingLot) -> bool:
        """Wait while too much is queued to the next hop, or until `also` wakes; whether there was a wait."""
        if not self._carriage.full(stream.peer, stream.via):
            return False
        async with trio.open_nursery() as nursery:

            async def woken() -> None:
                await also.park()
                nursery.cancel_scope.cancel()

            nursery.start_soon(woken)
            await self._carriage.wait_for_room(stream.peer, stream.via)
            nursery.cancel_scope.cancel()
        return True

    def forget(self, stream: RelayStream, broken: FlowBroken | None = None) -> None:
        """A stream is over."""
        key = (stream.peer, stream.flow.stream)
        if self._streams.pop(key, None) is not None:
            self._with[stream.peer] -= 1
            if not self._with[stream.peer]:
                del self._with[stream.peer]
        if (answered := self._opening.get(key)) is not None:
            answered.set()
        self._learn(stream, broken)
        if broken is not None and broken.dead:
            self._carriage.dead(stream.peer, stream.via)

    def attend(self, stream: RelayStream) -> None:
        """A stream has changed: something of it may be due earlier."""
        if stream.flow.next_ms() < self._wakes_ms:
            self._news.set()

    async def run(self) -> None:
        """Keep the streams' time, until cancelled."""
        while True:
            self._news = trio.Event()
            due = (stream.flow.next_ms() for stream in self._streams.values())
            self._wakes_ms = min(due, default=float("inf"))
            with trio.move_on_after(max(0.0, self._wakes_ms - self.now_ms()) / 1_000):
                await self._news.wait()
            now_ms = self.now_ms()
            for stream in list(self._streams.values()):
                if stream.flow.next_ms() <= now_ms:
                    stream.look(now_ms)

    # --- inside -----------------------------------------------------------------------------------------

    def _opened(self, peer: str, part: MeshRelay, via: str | None) -> None:
        """Somebody opens a stream to this node."""
        reason = None
        if self._accept is None:
            reason = "nobody_listens"
        elif self._with[peer] >= PER_PEER or len(self._streams) >= IN_ALL:
            reason = "too_many"
        if not self._with[peer]:
            del self._with[peer]
        stream = RelayStream(self, peer, RelayFlow(part.stream, self._limits_with(peer)), accepted=True)
        stream.via = via
        if reason is None:
            self._keep(stream)
            stream.feed(part)
            if stream.broken is None and self._accept is not None and not self._accept(stream):
                reason = "backlog"
                self.forget(stream)
        if reason is not None:
            self.refused[reason] += 1
            self._carriage.say(peer, stream.flow.resetting(), via)
        elif stream.broken is None:
            self.say(stream, stream.flow.window())

    def _limits_with(self, peer: str) -> FlowLimits:
        """The deadlines with a peer: doubled each time that they broke a stream, for it may only have been slow."""
        return self.limits.patient(self._impatient.get(peer, 0))

    def _learn(self, stream: RelayStream, broken: FlowBroken | None) -> None:
        if broken is not None and broken.reason in ("dead", "gap"):
            if len(self._impatient) >= IN_ALL:
                self._impatient.clear()
            self._impatient[stream.peer] = min(MOST_PATIENT, self._impatient.get(stream.peer, 0) + 1)
        elif self.now_ms() - stream.began_ms >= STEADY_MS:
            self._impatient.pop(stream.peer, None)

    def _keep(self, stream: RelayStream) -> tuple[str, str]:
        key = (stream.peer, stream.flow.stream)
        self._streams[key] = stream
        self._with[stream.peer] += 1
        return key
