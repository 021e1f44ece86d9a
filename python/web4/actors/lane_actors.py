"""All lane actors of a node: started on the first command, at most one per lane, stopped in order (ACT-5f, ACT-6)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from web4.actors.errors import ActorStoppedError
from web4.actors.lane_actor import LaneActor
from web4.actors.lane_ref import LaneRef
from web4.actors.metrics import ActorMetrics
from web4.actors.options import ActorOptions
from web4.actors.recovering import record_halted
from web4.foundation.errors import Web4Error
from web4.journal.errors import InvalidEventError, JournalUnavailable, LaneHalted, NotWriterError
from web4.journal.lane import SERVER
from web4.journal.recovery import RECOVERY_EVENTS, RecoverySummary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from web4.actors.definition import LaneDefinition
    from web4.journal.journal import Journal
    from web4.journal.lane import Lane, LaneKind
    from web4.journal.record import OpenWork

_RECOVERING: Final = 16
"""Lanes that are recovered at once."""
_LOOKS: Final = 8
"""How often idleness is looked for within the time after which it counts."""


class LaneActors:
    """The lane actors of a node. Open them with `open_lane_actors`.

    Args:
        journal: Where the lanes are.
        definitions: One for each kind of lane that has actors.
        options: Bounds and times.
        nursery: Where the actors run.
    """

    def __init__(
        self,
        journal: Journal,
        definitions: Mapping[LaneKind, LaneDefinition[Any, Any, Any, Any]],
        *,
        options: ActorOptions,
        nursery: trio.Nursery,
    ) -> None:
        self.metrics = ActorMetrics()
        self.summary = _nothing(journal)
        self.summary.torn_batches = journal.backend.torn
        """What recovery found and did at start (JRN-14)."""
        self.now = journal.clock.monotonic_ns
        self._journal = journal
        self._definitions = dict(definitions)
        self._options = options
        self._nursery = nursery
        self._context = copy_context()
        self._actors: dict[Lane, LaneActor] = {}
        self._gone = trio.lowlevel.ParkingLot()
        self._closing = False
        self._recovery_over = trio.Event()

    def __len__(self) -> int:
        return len(self._actors)

    def lane(self, lane: Lane) -> LaneRef:
        """A handle on a lane's actor. Nothing is started before it is used."""
        return LaneRef(self, lane)

    def running(self) -> list[Lane]:
        """The lanes whose actors run at the moment."""
        return list(self._actors)

    def depths(self) -> dict[Lane, tuple[int, int, int]]:
        """What waits in each lane: conclusions, control, work."""
        return {lane: actor.mailbox.depths for lane, actor in self._actors.items()}

    # --- for handles ------------------------------------------------------------------------------------

    def actor(self, lane: Lane) -> LaneActor:
        """The actor of a lane, started if it does not run.

        Raises:
            LaneHalted: The lane takes nothing any more.
            ActorStoppedError: The node stops, or its recovery failed.
            InvalidEventError: `lane`: there is no definition for lanes of this kind.
        """
        found = self._actors.get(lane)
        if found is not None:
            return found
        if self._closing:
            raise ActorStoppedError("the lane actors of this node are being stopped")
        if lane in self._journal.halted:
            raise LaneHalted(f"{lane} was halted: {self._journal.halted[lane]}")
        return self._start(lane)

    def admit(self, actor: LaneActor, command: Any, *, control: bool) -> None:
        """Refuse a command that must not wait: the node stops, or cannot write (JRN-15c).

        Raises:
            ActorStoppedError, JournalUnavailable: Why.
        """
        if self._closing:
            raise ActorStoppedError("the lane actors of this node are being stopped")
        if self.summary.state != "ready":
            raise ActorStoppedError(
                f"recovery: {self.summary.state}; the node takes no commands", code="not_recovered"
            )
        if self._journal.state != "suspended":
            if not (control or self._journal.backend.accepting):
                what = "the journal's volume is nearly full; no new work is begun"
                raise JournalUnavailable(what, code="no_space", retry_after_ms=1_000)
            return
        stops: tuple[str, ...] = ()
        if control and actor.writer is not None:
            stops = tuple(actor.definition.stops(actor.writer.durable_state, command))
        for effect_id in stops:
            actor.effects.cut_off(effect_id)
        if not stops:
            raise JournalUnavailable("the journal cannot write now", code="suspended", retry_after_ms=1_000)

    def _start(self, lane: Lane) -> LaneActor:
        definition = self._definitions.get(lane.kind)
        if definition is None:
            raise InvalidEventError(f"lanes of kind {lane.kind} have no actors here", code="lane")
        self.metrics.started += 1
        actor = self._actors[lane] = LaneActor(
            self._journal,
            lane,
            definition,
            options=self._options,
            metrics=self.metrics,
            recovery_over=self._recovery_over,
            over=self._over,
        )
        # Not in the context of whoever happens to be the first to need it.
        self._context.copy().run(partial(self._nursery.start_soon, actor.run, name=f"actor of {lane}"))
        return actor

    def _over(self, actor: LaneActor) -> None:
        if self._actors.get(actor.lane) is actor:
            del self._actors[actor.lane]
            self._gone.unpark_all()

    # --- recovery (JRN-13) ------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Classify all unfinished work, and start the lanes that have some. What it found is in `summary`."""
        summary = self.summary
        with trio.move_on_after(self._options.recovery_seconds) as scope:
            try:
                summary.schema = (await self._journal.stats())["store"].get("schema")
                await self._recover()
                summary.state = "ready"
            except Web4Error as error:
                summary.state, summary.error = "failed", str(error)
        if scope.cancelled_caught:
            summary.state, summary.error = "timed_out", "recovery took too long"
        summary.lanes_halted = len(self._journal.halted)
        if summary.state == "ready":
            self._recovery_over.set()
        self._journal.emit(
            "recovery_finished",
            severity="info" if summary.state == "ready" else "error",
            state=summary.state,
            lanes_halted=summary.lanes_halted,
            unfinished=dict(summary.unfinished),
        )

    async def _recover(self) -> None:
        lanes = await self._unfinished()
        halted = [lane for lane in lanes if lane in self._journal.halted]
        others = [lane for lane in lanes if lane != SERVER and lane not in self._journal.halted]
        limiter = trio.CapacityLimiter(_RECOVERING)
        found: dict[Lane, RecoverySummary] = {}

        async def settle(lane: Lane) -> None:
            async with limiter:
                actor = self.actor(lane)
                await actor.settled.wait()
                found[lane] = actor.summary
                if isinstance(actor.ended, LaneHalted):
                    halted.append(lane)
                elif isinstance(actor.ended, NotWriterError):  # another node sees to it
                    self._journal.emit("recovery_skipped", severity="info", lane=str(lane))
                elif actor.ended is not None:
                    raise actor.ended

        try:
            async with trio.open_nursery() as nursery:
                for lane in others:
                    nursery.start_soon(settle, lane)
        except* Web4Error as errors:
            raise errors.exceptions[0] from None
        for lane in sorted(halted):  # while nobody else writes `server`
            await record_halted(self._journal, lane, found.setdefault(lane, _nothing(self._journal)))
        if SERVER in lanes and SERVER not in halted:
            await settle(SERVER)
            if SERVER in halted:
                await record_halted(self._journal, SERVER, found[SERVER])
        for lane in sorted(found):
            self.summary.merge(found[lane])

    async def _unfinished(self) -> list[Lane]:
        """The lanes with unfinished work that have a definition here."""
        lanes: dict[Lane, None] = {}
        after: OpenWork | None = None
        while page := await self._journal.open_work(after=after):
            lanes.update(dict.fromkeys(work.lane for work in page))
            after = page[-1]
        for lane in [lane for lane in lanes if lane.kind not in self._definitions]:
            self._journal.emit("recovery_skipped", severity="warning", lane=str(lane))
            del lanes[lane]
        return list(lanes)

    # --- coming to rest ---------------------------------------------------------------------------------

    async def passivate_idle(self) -> None:
        """Passivate actors that had nothing to do for long enough (ACT-6), for ever."""
        seen: dict[Lane, tuple[int, int]] = {}
        while True:
            await trio.sleep(self._options.idle_seconds / _LOOKS)
            looked: dict[Lane, tuple[int, int]] = {}
            for lane, actor in self._actors.items():
                rounds, looks = seen.get(lane, (-1, 0))
                quiet = actor.idle and actor.settled.is_set() and rounds == actor.rounds
                looked[lane] = (actor.rounds, looks + 1 if quiet else 0)
                if looked[lane][1] >= _LOOKS:
                    actor.passivating = True
                    actor.mailbox.wake()
            seen = looked

    def close(self) -> None:
        """Take nothing more."""
        self._closing = True

    async def stop(self, deadline_seconds: float) -> bool:
        """Take nothing more; let every lane decide what it has, conclude and snapshot (ACT-5f).

        Half of the time is for effects to end by themselves. Then those that may be performed again are left to
        the next boot, and the others are cancelled.

        Returns:
            Whether every actor came to its end within `deadline_seconds`; the others are to be cancelled.
        """
        self.close()
        for actor in tuple(self._actors.values()):
            actor.stopping = True
            actor.mailbox.wake()
        with trio.move_on_after(deadline_seconds / 2):
            await self._all_gone()
        for actor in tuple(self._actors.values()):
            actor.effects.leave()
            actor.mailbox.wake()
        with trio.move_on_after(deadline_seconds / 2) as scope:
            await self._all_gone()
        return not scope.cancelled_caught

    async def _all_gone(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._actors:
            await self._gone.park()


def _nothing(journal: Journal) -> RecoverySummary:
    return RecoverySummary(profile=journal.durability)


@asynccontextmanager
async def open_lane_actors(
    journal: Journal,
    definitions: Mapping[LaneKind, LaneDefinition[Any, Any, Any, Any]],
    *,
    options: ActorOptions | None = None,
) -> AsyncIterator[LaneActors]:
    """Recover unfinished work and serve the lanes of a node; on leaving, stop them gracefully, then for good.

    An exception, or a cancellation, in the body stops them at once: the next boot sees to what is unfinished.

    Args:
        journal: An open journal; the definitions' event types, and recovery's own, are registered with it.
        definitions: One for each kind of lane that has actors.
        options: Bounds and times.

    Raises:
        TypeError: Two definitions declare an event type differently.
    """
    options = options or ActorOptions()
    for one in (*RECOVERY_EVENTS, *(one for each in definitions.values() for one in each.events)):
        journal.registry.register(one)
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        actors = LaneActors(journal, definitions, options=options, nursery=nursery)
        await actors.recover()
        nursery.start_soon(actors.passivate_idle)
        try:
            yield actors
            if actors.summary.state == "ready":
                await actors.stop(options.stop_seconds)
        except BaseException as error:  # raised again below, not in the nursery's group
            failure = error
        finally:
            actors.close()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
