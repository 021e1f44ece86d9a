"""What the lane of a human knows: of one of this node, or of one at a peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from web4.protocols.hcp.lane.events import Action, CheckIn, FollowUp
from web4.protocols.hcp.social import Relation
from web4.protocols.hcp.values import UNSAID, Facts, Said

if TYPE_CHECKING:
    from web4.protocols.messages.hcp import Consent, SafetyFlag

MOST_KNOWN: Final = 1_024
"""Humans at peers that one of this node has to do with."""
MOST_INTENTS: Final = 256
"""Intents whose topic is remembered; the oldest are forgotten."""
MOST_WAITING: Final = 64
"""Messages that wait for one human of this node: in line, for an answer, or on their way."""
MOST_WAITING_BYTES: Final = 1 << 20
"""Bytes of what waits."""
MOST_ENDED: Final = 256
"""Messages of which it is remembered how they ended; the oldest are forgotten."""
MOST_RELATIONS: Final = 64
"""Humans of this node that one at a peer has to do with."""
MOST_NOTED: Final = 256
"""What is remembered as recorded, so that the same is not recorded every time."""


class _State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    pass


class Intent(_State, frozen=True):
    """What an intent is about."""

    ref: str
    lane_id: str
    topic: str
    goal: str


class Waiting(_State, frozen=True):
    """A message in line."""

    action: Action
    not_before_ms: int


class Known(_State, frozen=True):
    """A human at a peer."""

    peer: str
    human_id: str


class LocalState(_State, frozen=True):
    """A human of this node.

    Args:
        human_id: Who.
        name: What to call the human.
        role: What the human is to others.
        facts: What the gate looks at.
        known: Humans at peers, by lane.
        intents: Oldest first.
        check_ins: Questions without an answer, oldest first.
        line: What waits for its turn, in order.
        open: What is being sent or handed on, by action.
        follow_ups: What is being done elsewhere, by effect.
        paced: When a message last passed at the slow pace of a human, by lane.
        ended: How messages ended, oldest first.
        noted: What was recorded once and when, oldest first.
    """

    human_id: str
    name: str
    role: str
    facts: Facts = Facts()
    known: dict[str, Known] = {}
    intents: tuple[Intent, ...] = ()
    check_ins: tuple[CheckIn, ...] = ()
    line: tuple[Waiting, ...] = ()
    open: dict[str, Action] = {}
    follow_ups: dict[str, FollowUp] = {}
    paced: dict[str, int] = {}
    ended: tuple[tuple[str, str], ...] = ()
    noted: tuple[tuple[str, int], ...] = ()

    def waiting(self) -> list[Action]:
        """All that waits or is on its way."""
        return [
            *(one.action for one in self.check_ins),
            *(one.action for one in self.line),
            *self.open.values(),
        ]

    def intent(self, ref: str, lane_id: str) -> Intent | None:
        """The intent of this name between the two humans, if it is remembered."""
        return next((one for one in self.intents if one.ref == ref and one.lane_id == lane_id), None)

    def ending(self, action_id: str) -> str | None:
        """How a message ended: `ok` or a code; None if it has not, or is forgotten."""
        return dict(self.ended).get(action_id)

    @property
    def next_ms(self) -> int | None:
        """When to look again at what waits; None if nothing does, or only for what is under way."""
        times = [one.expires_ms for one in self.check_ins]
        times += [one.not_before_ms for one in self.heads()]
        return min(times, default=None)

    def heads(self) -> list[Waiting]:
        """The first in line for each other human, unless it has to wait for one that is under way."""
        first: dict[str, Waiting] = {}
        for one in self.line:
            first.setdefault(one.action.lane_id, one)
        return [one for one in first.values() if not self.busy(one.action)]

    def busy(self, action: Action) -> bool:
        """Whether another message to the same human is under way: one at a time, so that they keep their order."""
        if action.direction == "in":
            return False
        return any(one.direction == "out" and one.lane_id == action.lane_id for one in self.open.values())


class RemoteState(_State, frozen=True):
    """A human at a peer.

    Args:
        peer: Fingerprint of the agent that owns the human.
        human_id: What that agent calls the human.
        name: From HCP_HELLO; empty before one came.
        role: The same.
        facts: What the gate looks at.
        relations: With humans of this node.
        heard: Messages whose word was taken in, oldest first: one that comes again says nothing.
        follow_ups: What is being done elsewhere, by effect.
    """

    peer: str
    human_id: str
    name: str = ""
    role: str = ""
    facts: Facts = Facts()
    relations: dict[str, Relation] = {}
    heard: tuple[str, ...] = ()
    follow_ups: dict[str, FollowUp] = {}

    def relation(self, local: str) -> Relation:
        """The relation with a human of this node; the default if there is none."""
        return self.relations.get(local, Relation())


class LaneState(_State, frozen=True):
    """The state of a lane `human:<id>`: of one kind or the other, or of neither before its first event."""

    local: LocalState | None = None
    remote: RemoteState | None = None


def said_facts(facts: Facts, said: Said, at_ms: int) -> Facts:
    """Facts after a human's state was said."""
    return msgspec.structs.replace(facts, said=said, said_ms=at_ms)


def consented_facts(facts: Facts, consent: Consent, scope: tuple[str, ...], at_ms: int) -> Facts:
    """Facts after consent was given or taken back."""
    return msgspec.structs.replace(facts, consent=consent, scope=scope, said_ms=at_ms)


def flagged_facts(facts: Facts, flags: tuple[SafetyFlag, ...]) -> Facts:
    """Facts after a human said what to be spared."""
    return msgspec.structs.replace(facts, flags=flags)


NOBODY: Final = Facts(said=UNSAID)
"""What is known of somebody never heard of."""
