"""The acts of this node's humans, as their doors give them (HCP-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import trio

from web4.protocols.hcp import acts as a
from web4.protocols.hcp.lane import commands as c
from web4.protocols.hcp.lane.events import CheckInEnded, LineLeft
from web4.protocols.hcp.refusing import refusal_of, refused
from web4.protocols.hcp.scope import checked_scope
from web4.protocols.hcp.values import Contact, Said

if TYPE_CHECKING:
    from web4.protocols.hcp.context import HumanContext
    from web4.protocols.hcp.lane.replies import Reply
    from web4.protocols.hcp.social import Cause

_ALL: Final[tuple[Cause, ...]] = ("act", "local", "remote")


PURGE_SECONDS: Final = 5.0
"""How long whoever revokes consent waits to be told what was purged. It takes a second at most (HCP-3)."""


class Revoked(NamedTuple):
    """What a revocation of consent has ended (HCP-3).

    Args:
        cancelled: How much ran for the human: work of the agent's loop, and messages on their way.
        running: How much of it has not ended yet.
        waiting: Questions, and messages in line, that wait no longer.
        purged: Messages in the outbox that are not sent; None if that is not known yet.
    """

    cancelled: int
    running: int
    waiting: int
    purged: int | None


class Acting:
    """Turns acts into commands of lanes.

    Args:
        context: See `HumanContext`.
    """

    def __init__(self, context: HumanContext) -> None:
        self._context = context

    async def act(self, human_id: str, act: a.HumanAct, *, door: str) -> None:
        """See `HcpRuntime.act`."""
        self._check(human_id, door)
        match act:
            case a.Revoke():
                await self._revoke(human_id, c.Give(consent="revoked", door=door, **self._stamp()))
            case a.Grant():
                await self._give(human_id, c.Give(consent="granted", door=door, **self._stamp()))
            case a.Limit():
                scope = checked_scope(act.scope)
                await self._give(human_id, c.Give(consent="limited", scope=scope, door=door, **self._stamp()))
            case a.SetState():
                await self._state(human_id, act, door)
            case a.Answer():
                await self._answer(human_id, act, door)
            case a.Restrict() | a.Regrant():
                await self._relate(human_id, act, door)

    async def revoke(self, human_id: str, *, door: str) -> Revoked:
        """See `HcpRuntime.revoke`."""
        self._check(human_id, door)
        give = c.Give(consent="revoked", door=door, **self._stamp())
        with self._context.purges(f"{give.token}/revoked") as purging:
            cancelled, reply = await self._revoke(human_id, give)
            with trio.move_on_after(PURGE_SECONDS):
                await purging.done.wait()
        waiting = sum(isinstance(event, CheckInEnded | LineLeft) for event in reply.events)
        return Revoked(cancelled, self._context.running.count(human_id), waiting, purging.purged)

    def _check(self, human_id: str, door: str) -> None:
        if not door:
            raise refusal_of("door_required")
        if human_id not in self._context.index.locals:
            raise refusal_of("unknown_human")

    def _stamp(self) -> dict[str, Any]:
        """Time and a fresh id, as every command brings them."""
        return {"at": self._context.now(), "token": self._context.ids.uuid4()}

    async def _revoke(self, human_id: str, give: c.Give) -> tuple[int, Reply]:
        """Stop first, then record: whoever says stop is not made to wait for a disk (HCP-3). How much was stopped."""
        running = self._context.running
        running.barred.add(human_id)
        stopped = running.stop(human_id)
        return stopped, await self._give(human_id, give)

    async def _give(self, human_id: str, give: c.Give) -> Reply:
        reply = await self._context.lanes.ask(human_id, give, control=give.consent == "revoked")
        _done(reply)
        # If the journal did not take it, nothing begins for this human until it takes another word of the human's.
        self._context.running.barred.discard(human_id)
        return reply

    async def _state(self, human_id: str, act: a.SetState, door: str) -> None:
        local = await self._context.lanes.local(human_id)
        if local is None:
            raise refusal_of("unknown_human")
        new = {name: value for name in Said.__struct_fields__ if (value := getattr(act, name)) is not None}
        said = msgspec.convert({**msgspec.structs.asdict(local.facts.said), **new}, Said)
        _done(await self._context.lanes.ask(human_id, c.State(said=said, door=door, **self._stamp())))

    async def _answer(self, human_id: str, act: a.Answer, door: str) -> None:
        context = self._context
        async with context.attempting:
            local = await context.lanes.local(human_id)
            check_ins = () if local is None else local.check_ins
            asked = next((one for one in check_ins if one.check_in_id == act.check_in_id), None)
            if asked is None:
                raise refusal_of("unknown_check_in")
            action = asked.action
            other = await context.other(human_id, Contact(action.peer, action.human_id))
            answer = c.AnswerCheckIn(
                check_in_id=act.check_in_id,
                yes=act.yes,
                door=door,
                others={action.lane_id: other},
                **self._stamp(),
            )
            reply = await context.lanes.ask(human_id, answer)
        if reply.status == "stopped":
            raise refused(reply, msg_id=action.msg_id)
        _done(reply)

    async def _relate(self, human_id: str, act: a.Restrict | a.Regrant, door: str) -> None:
        contact = act.contact
        if contact.lane_id not in self._context.index.remotes:
            raise refusal_of("unknown_human", peer=contact.peer)
        command: c.Close | c.Reopen
        if isinstance(act, a.Restrict):
            command = c.Close(local=human_id, cause="act", door=door, **self._stamp())
        else:
            command = c.Reopen(local=human_id, causes=_ALL, door=door, **self._stamp())
        _done(await self._context.lanes.ask(contact.lane_id, command))


def _done(reply: Reply) -> None:
    """Raise what a lane says against an act.

    Raises:
        ConsentError: See `refused`.
    """
    if reply.status in {"unknown_human", "unknown_check_in", "door_required"}:
        raise refused(reply)
