"""The story of the demo: two agents meet and work together; somebody tries to spoil it, and things break.

Every step asks the processes to do something and then looks at what their own events and journals say; nothing is
claimed because it was asked for (DEMO-5). A step whose check is sabotaged does its part wrongly, so that its check
has to fail.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from web4.demo.chapters.attacks import Attacks
from web4.demo.chapters.crashes import Crashes
from web4.demo.chapters.extensions import Extensions
from web4.demo.chapters.facts import Facts
from web4.demo.chapters.meeting import Meeting
from web4.demo.chapters.people import People
from web4.demo.chapters.reading import Reading
from web4.demo.checks import CheckFailedError, Checks
from web4.demo.process import ChildError
from web4.demo.stage import Stage, Step

if TYPE_CHECKING:
    from pathlib import Path

    from web4.demo.program import DemoOptions
    from web4.demo.timeline import Timeline


class Story:
    """Everything from the start of the processes to the last check. Arguments as of `MakesStory`."""

    def __init__(self, timeline: Timeline, checks: Checks, *, directory: Path, options: DemoOptions) -> None:
        self._timeline = timeline
        self._checks = checks
        self._stage = Stage(timeline, directory=directory, options=options)

    async def tell(self) -> str | None:
        """Start the processes and go through the steps; a failed check ends the story.

        Returns:
            Why the processes could not be started, or None.
        """
        failure: str | None = None
        async with trio.open_nursery() as nursery:
            async with AsyncExitStack() as stack:
                try:
                    await self._stage.open(stack, nursery)
                except (CheckFailedError, ChildError, OSError) as error:
                    failure = str(error)
                else:
                    await self._take_steps()
                    self._timeline.ending = True
            nursery.cancel_scope.cancel()
        return failure

    async def _take_steps(self) -> None:
        people = People(self._stage)
        crashes = Crashes(self._stage, people)
        try:
            await crashes.recall()
        except (CheckFailedError, ChildError) as error:
            self._checks.failed("remembered", str(error))
            return
        for name, step in self._steps(people, crashes):
            if self._timeline.lost is not None:
                return
            self._stage.step = name
            try:
                await step()
            except (CheckFailedError, ChildError) as error:
                self._checks.failed(name, str(error))
                return
            self._checks.passed(name)

    def _steps(self, people: People, crashes: Crashes) -> list[Step]:
        meeting, attacks, facts = Meeting(self._stage), Attacks(self._stage), Facts(self._stage)
        reading, extensions = Reading(self._stage), Extensions(self._stage)
        return [
            Step("wrong_key_refused", meeting.wrong_key_refused),
            Step("rtt_open", meeting.rtt_open),
            Step("handshake", meeting.handshake),
            Step("gate_refuses", meeting.gate_refuses),
            Step("promote", meeting.promote),
            Step("intent_reply", meeting.intent_reply),
            Step("garbage_refused", attacks.garbage_refused),
            Step("tamper_refused", attacks.tamper_refused),
            Step("replay_refused", attacks.replay_refused),
            Step("foreign_sender_refused", attacks.foreign_sender_refused),
            Step("trust_unchanged", attacks.trust_unchanged),
            Step("claim_pending", facts.claim_pending),
            Step("claim_deferred_then_accepted", facts.claim_deferred_then_accepted),
            Step("resume", facts.resume),
            Step("lip_fetch", reading.lip_fetch),
            Step("fetch_refused", reading.fetch_refused),
            Step("extension_called", extensions.extension_called),
            Step("hang_killed", extensions.hang_killed),
            Step("served_after_kill", extensions.served_after_kill),
            Step("hcp_intent", people.hcp_intent),
            Step("hcp_revoke", crashes.hcp_revoke),
            Step("remembered", crashes.remembered),
            Step("crash_outbox", crashes.crash_outbox),
            Step("journals_verify", crashes.journals_verify),
        ]
