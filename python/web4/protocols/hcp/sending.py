"""What this node's agent says to humans at peers: at the gate, in its turn, or after its human said yes (HCP-1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from web4.foundation.digest import canonical
from web4.protocols.errors import PayloadSchemaError
from web4.protocols.hcp.lane import commands as c
from web4.protocols.hcp.lane.events import Action, message_of
from web4.protocols.hcp.receiving import tell_gate, topic_of
from web4.protocols.hcp.refusing import refusal_of, refused
from web4.protocols.hcp.values import checked_contact
from web4.protocols.messages import hcp as m
from web4.protocols.messages.vocabulary import type_of

if TYPE_CHECKING:
    from web4.protocols.hcp.context import HumanContext
    from web4.protocols.hcp.gate import Verdict
    from web4.protocols.hcp.lane.replies import Reply
    from web4.protocols.hcp.values import Contact


@dataclass(frozen=True, slots=True)
class Passage:
    """What became of a message so far.

    Args:
        msg_id: Its id.
        status: `sent`: it is on its way to the peer. `waits`: for its turn (HCP-7). `asked`: for its human (HCP-5).
        verdict: What the gate said, with reasons; None of a message that was here before.
        check_in_id: With `asked`: the question.
    """

    msg_id: str
    status: Literal["sent", "waits", "asked"]
    verdict: Verdict | None = None
    check_in_id: str | None = None


class Sending:
    """Sends messages for this node's humans.

    Args:
        context: See `HumanContext`.
    """

    def __init__(self, context: HumanContext) -> None:
        self._context = context

    async def send(
        self,
        human_id: str,
        contact: Contact,
        payload: m.HcpPayload,
        *,
        corr_id: str | None = None,
        msg_id: str | None = None,
    ) -> Passage:
        """Take a message to the gate. See `HcpRuntime.send_intent` for what it raises."""
        context = self._context
        payload = _checked(payload)
        checked_contact(contact)
        if human_id not in context.index.locals:
            raise refusal_of("unknown_human")
        if context.running.barred.intersection((human_id, contact.lane_id)):
            raise refusal_of("consent_revoked", peer=contact.peer)
        context.index.admit(contact)
        action = await self._action(human_id, contact, payload, corr_id, msg_id or context.ids.uuid4())
        # Known before the lane is: what it decides may be over by the time it is heard of.
        with context.waiting(action.action_id) as waiter:
            reply = await self._attempt(human_id, contact, action, payload)
            tell_gate(context, action, reply)
            if reply.status == "requested":
                await waiter.ended.wait()
                if waiter.error is not None:
                    raise waiter.error
                if waiter.outcome != "ok":
                    raise refusal_of(waiter.outcome or "", peer=contact.peer, msg_id=action.action_id)
            return _passage(action, reply)

    async def outcome(self, human_id: str, action_id: str) -> str:
        """See `HcpRuntime.outcome`."""
        context = self._context
        with context.waiting(action_id) as waiter:
            local = await context.lanes.local(human_id)
            if local is None:
                raise refusal_of("unknown_human")
            if any(one.action_id == action_id for one in local.waiting()):
                await waiter.ended.wait()
                return waiter.outcome or ""
            how = local.ending(action_id)
            if how is None:
                raise refusal_of("unknown_check_in", msg_id=message_of(action_id))
            return how

    async def _attempt(self, human_id: str, contact: Contact, action: Action, payload: m.HcpPayload) -> Reply:
        context = self._context
        async with context.attempting:
            other = await context.other(human_id, contact)
            goal = payload.goal if isinstance(payload, m.HcpIntent) else None
            attempt = c.Attempt(
                action=action, other=other, goal=goal, at=context.now(), token=context.ids.uuid4()
            )
            return await context.lanes.ask(human_id, attempt)

    async def _action(
        self, human_id: str, contact: Contact, payload: m.HcpPayload, corr_id: str | None, msg_id: str
    ) -> Action:
        context = self._context
        document: dict[str, Any] = msgspec.to_builtins(payload)
        try:
            size = len(canonical(document))
        except ValueError as error:
            raise PayloadSchemaError(str(error)) from None
        return Action(
            action_id=msg_id,
            direction="out",
            local=human_id,
            peer=contact.peer,
            human_id=contact.human_id,
            lane_id=contact.lane_id,
            type=type_of(payload).name,
            topic=await topic_of(context, human_id, contact, payload),
            corr_id=corr_id,
            document=document,
            size=size,
            agent=context.agent_id,
            confirm=await self._decides(human_id, contact, payload),
        )

    async def _decides(self, human_id: str, contact: Contact, payload: m.HcpPayload) -> bool:
        """Whether a message decides in the human's place: unless the intent is known and asks for no decision."""
        if not isinstance(payload, m.HcpDecision):
            return False
        local = await self._context.lanes.local(human_id)
        intent = None if local is None else local.intent(payload.intent_ref, contact.lane_id)
        return intent is None or intent.goal == "decide"


def _checked(payload: m.HcpPayload) -> m.HcpPayload:
    """A payload as its type prescribes it (HCP-6): structs are not checked when they are made.

    Raises:
        PayloadSchemaError: It is not.
    """
    if not isinstance(payload, m.HcpPayload):
        raise PayloadSchemaError("of and for humans only HCP speaks")
    try:
        checked: m.HcpPayload = msgspec.convert(msgspec.to_builtins(payload), type(payload))
    except msgspec.ValidationError as error:
        place = str(error).partition(" - at `$.")[2].rstrip("`")
        raise PayloadSchemaError("the payload does not fit its type", field=place or None) from None
    return checked


def _passage(action: Action, reply: Reply) -> Passage:
    """What a lane's answer means to whoever sends.

    Raises:
        ConsentError: It was refused.
    """
    match reply.status:
        case "requested" | "go":
            status: Literal["sent", "waits", "asked"] = "sent"
        case "waits":
            status = "waits"
        case "asked":
            status = "asked"
        case "ended" if reply.how == "ok":
            status = "sent"
        case _:
            raise refused(reply, peer=action.peer, msg_id=action.action_id)
    return Passage(action.action_id, status, reply.verdict, reply.check_in_id)
