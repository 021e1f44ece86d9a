"""What a human of this node does at its terminal: `consent_act`, `consent_answer` (HCP-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from web4.doors.commands.operators import add_for_operators
from web4.doors.control.wire import refused
from web4.doors.views.naming import by_prefix, peers_of
from web4.doors.views.people import consent_row
from web4.foundation.codec import HumanId
from web4.foundation.misfit import misfit
from web4.protocols.hcp.acts import Answer, Grant, Limit, Revoke
from web4.protocols.hcp.errors import ConsentError
from web4.protocols.messages.hcp import TopicScope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.doors.control import CommandSet
    from web4.doors.views.reading import Reading
    from web4.node import Node
    from web4.protocols.hcp.acts import HumanAct
    from web4.protocols.hcp.lane.states import LocalState

_DOOR: Final = "cli"
FIRST_ROLE: Final = "owner"
"""What a new human is to others, if nothing else is said."""


Words = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class NewHuman(msgspec.Struct, frozen=True):
    """A human that this node is to have, if it has none of this id.

    Args:
        name: What to call it; its id when left out.
        role: What it is to others; `owner` when left out.
    """

    name: Words | None = None
    role: Words | None = None


class ActOfHuman(msgspec.Struct, frozen=True):
    """The payload of the three that change consent.

    Args:
        act: What is done.
        human: Who does it: a human of this node, by id.
        scope: Of a limit: `topic:a/b`, or `a/b`.
        new: See there; None if the human has to be known.
    """

    act: Literal["grant", "limit", "revoke"]
    human: HumanId
    scope: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()
    new: NewHuman | None = None


class AnswerOfHuman(msgspec.Struct, frozen=True):
    """The payload of `consent_answer`: which question, by id or its first digits, and what is answered."""

    check_in: str
    yes: bool


def add(commands: CommandSet, node: Node, reading: Reading) -> None:
    """Add the commands of this group."""

    async def act(asked: ActOfHuman) -> Mapping[str, Any]:
        try:
            done = _act_of(asked)
            human = await _human(asked)
            more: dict[str, Any] = {}
            if isinstance(done, Revoke):
                more["ended"] = (await node.people.revoke(human, door=_DOOR))._asdict()
            else:
                await node.people.act(human, done, door=_DOOR)
        except ValueError as error:
            raise refused(str(error)) from None
        state = (await reading.humans())[human]
        return {**consent_row(human, state, (await peers_of(reading)).alias, reading.now_ms()), **more}

    async def _human(asked: ActOfHuman) -> str:
        humans = await reading.humans()
        known = humans.get(asked.human)
        local = None if known is None else known.local
        if local is not None:
            _refuse_another(local, asked.new or NewHuman())
        elif asked.new is None:
            raise ConsentError(f"this node has no human {asked.human!r}", code="unknown_human")
        else:
            new = asked.new
            await node.people.add_human(
                asked.human, name=new.name or asked.human, role=new.role or FIRST_ROLE
            )
        return asked.human

    async def answer(asked: AnswerOfHuman) -> Mapping[str, Any]:
        waiting = {
            one.check_in_id: human
            for human, state in (await reading.humans()).items()
            if state.local is not None
            for one in state.local.check_ins
        }
        known = asked.check_in in waiting
        check_in = asked.check_in if known else by_prefix(asked.check_in, waiting, what="question")
        human = waiting[check_in]
        await node.people.act(human, Answer(check_in, asked.yes), door=_DOOR)
        return {"check_in": check_in, "human": human, "answer": "yes" if asked.yes else "no"}

    add_for_operators(commands, "consent_act", ActOfHuman, act)
    add_for_operators(commands, "consent_answer", AnswerOfHuman, answer)


def _refuse_another(known: LocalState, new: NewHuman) -> None:
    """Who is there already keeps name and role: a consent that renamed its human would be two acts in one."""
    for what, given, has in (("called", new.name, known.name), ("here as", new.role, known.role)):
        if given is not None and given != has:
            raise ConsentError(
                f"the human {known.human_id!r} is {what} {has!r} already, not {given!r}", code="human_known"
            )


def _act_of(asked: ActOfHuman) -> HumanAct:
    if asked.act == "limit":
        if not asked.scope:
            raise refused("scope is required")
        scope = tuple(one if one.startswith("topic:") else f"topic:{one}" for one in asked.scope)
        try:
            return Limit(msgspec.convert(scope, tuple[TopicScope, ...]))
        except msgspec.ValidationError as error:
            raise refused(f"TOPIC {misfit(error, scope, tuple[TopicScope, ...]).text}") from None
    return Grant() if asked.act == "grant" else Revoke()
