"""What humans consent to, and what they are asked: `consent_ls`, `consent_asked`.

Never affect, pressure or clarity, nor the reasons of a question: they tell of those (HCP-11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from web4.doors.control.commands import Nothing
from web4.doors.views.naming import human_of, peers_of
from web4.protocols.hcp.values import STALE_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.doors.views.reading import Reading
    from web4.protocols.hcp.lane.events import CheckIn
    from web4.protocols.hcp.lane.states import LaneState


class WhoIsAsked(msgspec.Struct, frozen=True):
    """The payload of `consent_asked`: a human of this node; all of them when left out."""

    human: str | None = None


async def consent_ls(reading: Reading, _: Nothing) -> Mapping[str, Any]:
    """`{humans: [row]}`: those of this node first."""
    humans, peers, now = await reading.humans(), await peers_of(reading), reading.now_ms()
    rows = [consent_row(lane, state, peers.alias, now) for lane, state in humans.items()]
    rows.sort(key=lambda row: (row["peer"] is not None, row["human"], row["peer"] or ""))
    return {"humans": rows}


def consent_row(lane: str, state: LaneState, alias: Any, now_ms: int) -> dict[str, Any]:
    """What a human consents to. `stale`: it was granted, and counts as limited until it is said again (HCP-2)."""
    local, remote = state.local, state.remote
    of = local or remote
    assert of is not None
    facts = of.facts
    return {
        "lane": lane,
        "human": of.human_id,
        "peer": None if remote is None else remote.peer,
        "peer_name": None if remote is None else alias(remote.peer),
        "name": of.name or None,
        "role": of.role or None,
        "consent": facts.consent,
        "scope": list(facts.scope),
        "said_ms": facts.said_ms or None,
        "stale": facts.consent == "granted" and now_ms - facts.said_ms > STALE_MS,
        "check_ins": 0 if local is None else len(local.check_ins),
    }


async def consent_asked(reading: Reading, asked: WhoIsAsked) -> Mapping[str, Any]:
    """`{check_ins: [row]}`: the questions that wait for an answer, oldest first."""
    humans = await reading.humans()
    lanes = sorted(humans) if asked.human is None else [human_of(asked.human, humans)]
    peers = await peers_of(reading)
    rows = []
    for lane in lanes:
        local = humans[lane].local
        if local is not None:
            rows += [check_in_row(lane, one, peers.alias) for one in local.check_ins]
    rows.sort(key=lambda row: (row["asked_ms"], row["check_in"]))
    return {"check_ins": rows}


def check_in_row(human: str, one: CheckIn, alias: Any) -> dict[str, Any]:
    """A question: to whom, by which agent, about a message between which humans."""
    action = one.action
    return {
        "check_in": one.check_in_id,
        "human": human,
        "question": one.question,
        "asked_by": one.asked_by,
        "direction": action.direction,
        "type": action.type,
        "topic": action.topic,
        "peer": action.peer,
        "peer_name": alias(action.peer),
        "other": action.human_id,
        "asked_ms": one.asked_ms,
        "expires_ms": one.expires_ms,
    }


QUESTIONS: Final = {"consent_ls": (Nothing, consent_ls), "consent_asked": (WhoIsAsked, consent_asked)}
