"""The story of the mesh demo: a ring of nodes that do much with those who are no neighbours, and lose some of them.

Every step asks the processes to do something and then looks at what their own journals and events say; nothing is
claimed because it was asked for (DEMO-5). A step whose check is sabotaged does its part wrongly, so that its check has
to fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from web4.demo.checks import CheckFailedError, Checks
from web4.demo.process import ChildError
from web4.demo.ring import agreeing, lasting, reaching, trusting
from web4.demo.ring.ring import Ring
from web4.demo.ring.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from web4.demo.ring.options import MeshOptions
    from web4.demo.timeline import Timeline

STEPS: Final[dict[str, Callable[[Stage], Awaitable[None]]]] = {
    "topology": reaching.topology,
    "multihop": reaching.multihop,
    "hop_is_blind": reaching.hop_is_blind,
    "introduction_probing": trusting.introduction_probing,
    "claim_disputed_then_accepted": agreeing.claim_disputed_then_accepted,
    "service_invoke": lasting.service_invoke,
    "reroute": reaching.reroute,
    "partition_heals": agreeing.partition_heals,
    "crash_outbox": lasting.crash_outbox,
    "blocked_peer": trusting.blocked_peer,
    "export": lasting.export,
}


class MeshStory:
    """The demo of the mesh; see `Tells`."""

    def __init__(self, timeline: Timeline, checks: Checks, *, directory: Path, options: MeshOptions) -> None:
        self._timeline = timeline
        self._checks = checks
        self._directory = directory
        self._options = options

    async def tell(self) -> str | None:
        """Start the ring and go through the steps; a failed check ends the story.

        Returns:
            Why the processes could not be started, or None.
        """
        failure: str | None = None
        async with trio.open_nursery() as nursery:
            ring = Ring(self._timeline, directory=self._directory, options=self._options, nursery=nursery)
            try:
                try:
                    await ring.open()
                except* (CheckFailedError, ChildError, OSError) as group:
                    failure = "; ".join(map(str, _leaves(group)))
                if failure is None:
                    await self._take_steps(Stage(ring, sabotage=self._options.sabotage))
            finally:
                await ring.close()
            nursery.cancel_scope.cancel()
        return failure

    async def _take_steps(self, stage: Stage) -> None:
        for name, step in STEPS.items():
            if self._timeline.lost is not None:
                return
            stage.step = name
            try:
                if name == "topology":
                    await stage.begin_again()
                await step(stage)
            except (CheckFailedError, ChildError) as error:
                self._checks.failed(name, str(error))
                return
            self._checks.passed(name)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for one in group.exceptions
        for leaf in (_leaves(one) if isinstance(one, BaseExceptionGroup) else [one])
    ]
