"""The first answer to an INTENT, queued in one decision with what becomes of the INTENT (LOOP-5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from web4.protocols.cip.actions import Deliver, Report
from web4.protocols.cip.deciding import intent_record
from web4.protocols.cip.outbox.bodies import enqueue
from web4.protocols.messages import cip as m
from web4.protocols.messages.fields import Party

if TYPE_CHECKING:
    from web4.protocols.cip.actions import Action, Delivery
    from web4.protocols.cip.context import CipContext
    from web4.protocols.cip.intents import FirstStatus
    from web4.protocols.cip.peer import Peer


def answer_intent(
    context: CipContext,
    peer: Peer,
    delivery: Delivery,
    status: FirstStatus,
    reason: str,
    retry_after_ms: int | None = None,
) -> list[Action]:
    """Queue REPLY(accepted, deferred or refused); what follows once the lane is durable. Nothing if it has its answer.

    An INTENT that was declined is settled with it, so that a restart neither asks nor answers again. The decision is
    written down beside it (MEM-1).

    Raises:
        PayloadSchemaError, InvalidEnvelopeError: A reason or a time that cannot be sent.
        JournalError, MailboxFullError: The lane does not take it.
    """
    message = delivery.message
    reply = m.Reply(
        in_reply_to=message.msg_id,
        status=status,
        reason=reason,
        retry_after_ms=UNSET if retry_after_ms is None else retry_after_ms,
    )
    corr_id = None if message.corr_id is UNSET else message.corr_id
    command, body = enqueue(
        context.identity,
        reply,
        agent_id=context.options.agent_id,
        receiver=Party(agent_id=peer.agent_id, fingerprint=peer.fingerprint),
        msg_id=context.ids.uuid4(),
        at_ms=context.clock.wall_ms(),
        max_bytes=context.options.envelope_bytes,
        corr_id=corr_id,
        answers=message.msg_id,
        settles=None if status == "accepted" else status,
    )
    decided = intent_record(delivery, status, reason, state=context.state, at_ms=command.at_ms)
    command = msgspec.structs.replace(command, decided=decided)
    if command.blob is not None:
        peer.lane.keep(command.blob, body)
    if peer.lane.handle(command).queueing != "queued":
        return []
    about = {"peer": peer.fingerprint, "protocol": "cip", "msg_id": message.msg_id, "corr_id": corr_id}
    actions: list[Action] = []
    if status != "refused":
        actions.append(Report(f"intent_{status}", {**about, "reason": reason}))
    if status == "accepted":
        actions.append(Deliver(delivery))
    return actions
