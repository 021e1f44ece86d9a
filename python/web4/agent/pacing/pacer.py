"""Measures, decides how this node is, and tells its peers (PACE-1 to PACE-3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import trio

from web4.agent.pacing.lri import kernel_signals, lri
from web4.agent.pacing.sensors import LinuxSensors
from web4.agent.pacing.telling import Told, tells
from web4.agent.pacing.wire_presence import Level, following
from web4.foundation.clock import SystemClock
from web4.foundation.events import no_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from web4.agent.pacing.sensors import Sensors
    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.protocols.messages.fields import Presence

EVERY_SECONDS: Final = 1.0


class TellState(Protocol):
    """Who tells peers: `CipRuntime`."""

    def set_state(
        self,
        *,
        presence: Presence | None = None,
        lri: int | None = None,
        kernel_signals: tuple[str, ...] | None = None,
        intent: str | None = None,
    ) -> None:
        """Be like that from now on; an overloaded node defers HELLO and INTENT."""
        ...

    def tell_state(self) -> None:
        """Say so to every established peer."""
        ...


class Pacer:
    """Keeps a node's peers told how it is.

        pacer = Pacer(cip, queue=lambda: router.waiting / 4096)
        nursery.start_soon(pacer.run)

    Args:
        node: A `CipRuntime`.
        sensors: Of the machine; those of Linux when left out.
        queue: How full the fullest queue of the node is, 0 to 1.
        signals: What else is wrong, in code words: `kernel_overload` makes the node overloaded.
        observe: Told of every change, as the knowledge room is of load.
        clock: Where time comes from.
        emit: Gets a `state_update` event when peers are told.
    """

    def __init__(
        self,
        node: TellState,
        *,
        sensors: Sensors | None = None,
        queue: Callable[[], float] | None = None,
        signals: Callable[[], Iterable[str]] = tuple,
        observe: Callable[[Presence, int, tuple[str, ...]], None] | None = None,
        clock: Clock | None = None,
        emit: Emitter = no_events,
    ) -> None:
        self._node = node
        self._sensors = LinuxSensors() if sensors is None else sensors
        self._queue = queue
        self._signals = signals
        self._observe = observe
        self._clock = SystemClock() if clock is None else clock
        self._emit = emit
        self._level = Level()
        self._told: Told | None = None
        self._set: tuple[Presence, int, tuple[str, ...]] | None = None

    @property
    def presence(self) -> Presence:
        """How this node is, for its peers."""
        return self._level.presence

    async def run(self) -> None:
        """Measure once a second, until cancelled."""
        while True:
            self.measure()
            await trio.sleep(EVERY_SECONDS)

    def measure(self) -> None:
        """Measure now, and tell peers if it is time to. Call it when a queue fills up suddenly."""
        at_ms = self._clock.wall_ms()
        readings = self._sensors.read()
        if self._queue is not None:
            readings = replace(readings, queue=self._queue())
        load = lri(readings)
        signals = tuple(dict.fromkeys((*kernel_signals(readings), *self._signals())))
        self._level = following(self._level, load, signals, at_ms)
        now = (self._level.presence, load, signals)
        if now != self._set:
            self._set = now
            self._node.set_state(presence=now[0], lri=load, kernel_signals=signals)
            if self._observe is not None:
                self._observe(*now)
        if tells(self._told, now[0], load, at_ms):
            self._told = Told(now[0], load, at_ms)
            self._node.tell_state()
            self._emit("state_update", state=now[0], presence=now[0], lri=load, kernel_signals=signals)
