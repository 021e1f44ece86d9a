"""What comes from humans at peers: taken in on their lanes, and asked about at the gate (ROUTE-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec
from msgspec import UNSET

from web4.foundation.digest import canonical
from web4.foundation.errors import Web4Error
from web4.protocols.decisions import (
    DecisionEvidence,
    DecisionState,
    decision_record,
    derive_decision_id,
)
from web4.protocols.hcp.errors import ConsentError
from web4.protocols.hcp.lane import commands as c
from web4.protocols.hcp.lane import replies
from web4.protocols.hcp.lane.events import Action, Received, incoming_id, message_of
from web4.protocols.hcp.refusing import refused
from web4.protocols.hcp.social import SIGNALS
from web4.protocols.hcp.values import Contact, Said, derived_uuid4
from web4.protocols.messages import hcp as m
from web4.protocols.messages.cip import Reply
from web4.protocols.router.results import HandlerResult

if TYPE_CHECKING:
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.hcp.context import HumanContext
    from web4.protocols.hcp.lane.events import CheckInEnded, LineLeft
    from web4.protocols.hcp.lane.replies import Reply as LaneReply

_ENVELOPES: Final = get_args(m.HcpMessage)
_LATER: Final = frozenset({"no_answer", "human_deferred"})
"""Endings after which the sender may ask again; all others are a no."""


class Receiving:
    """The handlers of HCP's types. All of them may be asked again with the same message.

    Args:
        context: See `HumanContext`.
    """

    def __init__(self, context: HumanContext) -> None:
        self._context = context

    async def on_signal(self, delivery: Delivery) -> HandlerResult:
        """Handle HCP_HELLO and HCP_STATE_UPDATE: how a human is, and what it consents to."""
        message, contact = _of(delivery), _sender(delivery)
        failed = self._unknown(message.receiver.human_id, contact)
        if failed is not None:
            return failed
        await self._hear(message, contact)
        if message.type == "HCP_HELLO":
            greet = c.Greet(
                peer=contact.peer,
                human_id=contact.human_id,
                local=message.receiver.human_id,
                msg_id=message.msg_id,
                side="remote",
                at=self._context.now(),
            )
            await self._context.lanes.ask(contact.lane_id, greet)
        for human in tuple(self._context.index.due):
            await self._context.look_again(human)
        return HandlerResult()

    async def on_action(self, delivery: Delivery) -> HandlerResult:
        """Ask the gate about HCP_INTENT, HCP_CONTEXT, HCP_DECISION and HCP_FEEDBACK.

        `handled` lets the next handler have it. `deferred` without an error: it waits for the human here, or its turn,
        and is handed on then.
        """
        message, contact = _of(delivery), _sender(delivery)
        human = message.receiver.human_id
        if (contact.peer, message.msg_id) in self._context.handing:
            return HandlerResult()
        failed = self._unknown(human, contact)
        if failed is not None:
            return failed
        await self._hear(message, contact)
        reply = await self._attempt(delivery, message, contact)
        match reply.status:
            case "go":
                if message.type in {"HCP_DECISION", "HCP_FEEDBACK"}:
                    await self.take(delivery)
                return HandlerResult()
            case "asked" | "waits" | "requested":
                return HandlerResult(status="deferred")
            case "ended" if reply.how == "ok":
                return HandlerResult(status="deferred")
        error = refused(reply, peer=contact.peer, msg_id=message.msg_id)
        later = error.retry_after_ms is not None
        return HandlerResult(status="deferred" if later else "refused", error=error)

    async def take(self, delivery: Delivery) -> None:
        """Take in a decision or a feedback that the gate let pass: into decisions, and social trust (HCP-8)."""
        message, contact = _of(delivery), _sender(delivery)
        at, human, payload = self._context.now(), message.receiver.human_id, message.payload
        if isinstance(payload, m.HcpFeedback):
            rate = c.Rate(
                local=human,
                msg_id=message.msg_id,
                side="remote",
                intent=payload.intent_ref,
                satisfaction=payload.satisfaction,
                corrected=bool(payload.corrections),
                at=at,
            )
            await self._context.lanes.ask(contact.lane_id, rate)
        elif isinstance(payload, m.HcpDecision):
            record = decision_record(
                decision_id=derive_decision_id(message.msg_id, contact.lane_id),
                kind="human",
                about=payload.intent_ref,
                choice=payload.decision,
                alternatives=payload.alternatives,
                reasons=(payload.rationale,),
                context={"follow_up": payload.follow_up},
                evidence=(DecisionEvidence(kind="envelope", ref=message.msg_id),),
                state=DecisionState(trust=delivery.trust),
                actor=f"{contact.human_id}@{contact.peer}",
                at_ms=at,
            )
            command = c.Record(peer=contact.peer, msg_id=message.msg_id, record=record, at=at)
            await self._context.lanes.ask(human, command)

    async def decline(self, ended: CheckInEnded | LineLeft) -> None:
        """Tell the sender that what waited for a human here goes no further, once, and not how the human is (HCP-11).

        After a crash before it is queued it is not told: the sender knows then what it knew, that there is no answer.
        """
        assert ended.peer is not None
        later = ended.reason in _LATER
        reply = Reply(
            in_reply_to=message_of(ended.action_id),
            status="deferred" if later else "refused",
            reason=ended.reason,
        )
        try:
            await self._context.send(
                ended.peer, reply, corr_id=ended.corr_id, msg_id=derived_uuid4(ended.action_id, "over")
            )
        except Web4Error as error:
            self._context.emit(
                "error",
                severity="error",
                peer=ended.peer,
                protocol="hcp",
                where="decline",
                code=error.code,
                error=type(error).__name__,
            )

    # --- steps ------------------------------------------------------------------------------------------

    def _unknown(self, human_id: str, contact: Contact) -> HandlerResult | None:
        """Why a message cannot be for anybody here, or from whom it says."""
        if human_id not in self._context.index.locals:
            error = ConsentError("no human of this name here", code="unknown_human", peer=contact.peer)
            return HandlerResult(status="refused", error=error)
        try:
            self._context.index.admit(contact)
        except ConsentError as error:
            return HandlerResult(status="refused", error=error)
        return None

    async def _hear(self, message: m.HcpMessage, contact: Contact) -> None:
        """Take in how the sender's human is. One that revokes stops what runs before anything is recorded (HCP-3)."""
        context, state = self._context, message.state.human
        payload: Any = message.payload
        consent, scope = state.consent, None
        fields: dict[str, Any] = {}
        if isinstance(payload, m.HcpStateUpdate):
            state, consent, scope = _as_state(payload, state.intent), payload.consent, payload.consent_scope
        elif isinstance(payload, m.HcpHello):
            scope = payload.consent_scope
            identity = payload.identity
            fields = {"name": identity.name, "role": identity.role, "flags": payload.safety_flags}
        hear = c.Hear(
            peer=contact.peer,
            human_id=contact.human_id,
            local=message.receiver.human_id,
            msg_id=message.msg_id,
            type=message.type,
            said=Said(
                presence=state.presence,
                affect=state.affect,
                clarity=state.clarity,
                pressure=state.pressure,
                intent=state.intent,
            ),
            consent=consent,
            scope=scope,
            at=context.now(),
            token=context.ids.uuid4(),
            **fields,
        )
        lane = contact.lane_id
        if consent == "revoked":
            context.running.barred.add(lane)
            context.running.stop(lane)
        await context.lanes.ask(lane, hear, control=consent == "revoked")
        # Only now: while its lane does not say so, nothing may begin for that human.
        if consent == "revoked" or message.type in SIGNALS:
            context.running.barred.discard(lane)

    async def _attempt(self, delivery: Delivery, message: m.HcpMessage, contact: Contact) -> LaneReply:
        context, human = self._context, message.receiver.human_id
        if context.running.barred.intersection((human, contact.lane_id)):
            return replies.Reply(status="ended", how="consent_revoked")
        async with context.attempting:
            action = await self._action(delivery, message, contact)
            other = await context.other(human, contact)
            goal = message.payload.goal if isinstance(message.payload, m.HcpIntent) else None
            attempt = c.Attempt(
                action=action, other=other, goal=goal, at=context.now(), token=context.ids.uuid4()
            )
            reply = await context.lanes.ask(human, attempt)
        tell_gate(context, action, reply)
        return reply

    async def _action(self, delivery: Delivery, message: m.HcpMessage, contact: Contact) -> Action:
        human = message.receiver.human_id
        document: dict[str, Any] = msgspec.to_builtins(message)
        del document["state"]
        return Action(
            action_id=incoming_id(contact.peer, message.msg_id),
            direction="in",
            local=human,
            peer=contact.peer,
            human_id=contact.human_id,
            lane_id=contact.lane_id,
            type=message.type,
            topic=await topic_of(self._context, human, contact, message.payload),
            corr_id=None if message.corr_id is UNSET else message.corr_id,
            document=document,
            size=len(canonical(document)),
            agent=self._context.agent_id,
            received=Received(
                trust=delivery.trust,
                admission=delivery.admission,
                digest=delivery.digest,
                size=delivery.size,
                received_ms=delivery.received_ms,
            ),
        )


async def topic_of(
    context: HumanContext, human_id: str, contact: Contact, payload: m.HcpPayload
) -> str | None:
    """The topic of a message: its own, or that of the intent it refers to; None if nobody knows (HCP-2)."""
    if isinstance(payload, m.HcpIntent):
        return payload.topic
    ref = getattr(payload, "intent_ref", None)
    local = await context.lanes.local(human_id)
    intent = None if ref is None or local is None else local.intent(ref, contact.lane_id)
    return None if intent is None else intent.topic


def tell_gate(context: HumanContext, action: Action, reply: LaneReply) -> None:
    """Emit what the gate said, with a reason only if it is about consent or trust: others tell how one is (HCP-11)."""
    verdict = reply.verdict
    if verdict is None:
        return
    fields: dict[str, Any] = {"human": action.local, "result": verdict.result, "type": action.type}
    if verdict.result == "DENY":
        fields["reason"] = verdict.code
    if verdict.retry_after_ms is not None:
        fields["retry_after_ms"] = verdict.retry_after_ms
    context.emit(
        "gate_result",
        severity="info" if verdict.result == "ALLOW" else "warning",
        lane=f"human:{action.local}",
        peer=action.peer,
        protocol="hcp",
        msg_id=action.msg_id,
        corr_id=action.corr_id,
        state=verdict.result,
        **fields,
    )


def _as_state(payload: m.HcpStateUpdate, intent: str) -> m.HumanState:
    return m.HumanState(
        presence=payload.presence,
        affect=payload.affect,
        clarity=payload.clarity,
        pressure=payload.pressure,
        intent=intent,
        consent=payload.consent,
    )


def _of(delivery: Delivery) -> m.HcpMessage:
    message: Any = delivery.message
    assert isinstance(message, _ENVELOPES)
    hcp: m.HcpMessage = message
    return hcp


def _sender(delivery: Delivery) -> Contact:
    """Whose word it is: the session proves the peer, the peer says for which human."""
    return Contact(delivery.peer, _of(delivery).sender.human_id)
