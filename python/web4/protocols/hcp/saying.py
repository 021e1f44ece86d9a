"""What this node's agent says to humans at peers, by type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from web4.protocols.hcp.lane.events import incoming_id
from web4.protocols.hcp.refusing import refusal_of
from web4.protocols.hcp.sending import Passage, Sending
from web4.protocols.hcp.telling import hello
from web4.protocols.hcp.values import Contact
from web4.protocols.messages import hcp as m

if TYPE_CHECKING:
    from web4.protocols.cip.sealing import About
    from web4.protocols.hcp.context import HumanContext
    from web4.protocols.messages.fields import JsonObject
    from web4.protocols.messages.hcp import Goal
    from web4.protocols.messages.vocabulary import AgentPayload


class HumanMessages:
    """The messages of an `HcpRuntime`: all of them pass the gate, wait for their turn, or for their human.

    Args:
        context: See `HumanContext`.
    """

    def __init__(self, context: HumanContext) -> None:
        self._context = context
        self._sending = Sending(context)

    async def send(
        self,
        peer: str,
        payload: AgentPayload,
        *,
        corr_id: str | None = None,
        about: About | None = None,
        msg_id: str | None = None,
    ) -> str:
        """Send anything, as a `SendMessage`: what is of and for humans passes the gate, all else goes straight on.

        For whoever sends what others made, such as a router its handlers' outputs. `about` names the two humans; how
        they are is what their lanes say. A message that has to wait is kept, and this returns.

        Raises:
            ConsentError: `door_required` for HCP_FEEDBACK, which only a human gives. And all that `send_intent` raises.
        """
        if not isinstance(about, m.HumanParties):
            return await self._context.send(peer, payload, corr_id=corr_id, about=about, msg_id=msg_id)
        if isinstance(payload, m.HcpFeedback):
            raise refusal_of("door_required")
        contact = Contact(peer, about.receiver)
        said: m.HcpPayload = payload  # type: ignore[assignment]  # of others the gate says that they are none
        passage = await self._sending.send(about.sender, contact, said, corr_id=corr_id, msg_id=msg_id)
        return passage.msg_id

    async def say_hello(self, human_id: str, contact: Contact, *, corr_id: str | None = None) -> Passage:
        """Say who a human is (HCP_HELLO). With that of the other side the two may be probed (HCP-8).

        Raises:
            Everything that `send_intent` raises.
        """
        local = await self._context.lanes.local(human_id)
        if local is None:
            raise refusal_of("unknown_human")
        return await self._sending.send(human_id, contact, hello(local), corr_id=corr_id)

    async def send_intent(
        self,
        human_id: str,
        contact: Contact,
        *,
        goal: Goal,
        topic: str,
        priority: Literal["low", "normal", "high"] = "normal",
        corr_id: str | None = None,
        msg_id: str | None = None,
    ) -> Passage:
        """Say what a human wants of one at a peer (HCP_INTENT).

        Args:
            human_id: Whose intent it is.
            contact: Of whom.
            goal: What for; one to `decide` makes decisions about it wait for their human's yes (HCP-10).
            topic: What about; consent is looked for by it.
            priority: How much it matters.
            corr_id: The conversation it belongs to.
            msg_id: Its id; a new one when left out. The same again changes nothing.

        Returns:
            `sent`, with the outbox owing it; `waits` for its turn; `asked`, with the question to the human.

        Raises:
            ConsentDenied: The gate says DENY; the code says why.
            PacingDeferred: The gate says DEFER, or too much waits. Nothing is kept of it.
            ConsentError: `unknown_human`, `too_many_humans`.
            PayloadSchemaError: It is not what its type prescribes.
            Web4Error: It could not be sent.
        """
        intent = m.HcpIntent(goal=goal, topic=topic, priority=priority)
        return await self._sending.send(human_id, contact, intent, corr_id=corr_id, msg_id=msg_id)

    async def send_context(
        self,
        human_id: str,
        contact: Contact,
        *,
        intent_ref: str,
        context: JsonObject,
        constraints: tuple[str, ...] = (),
        shared_history: tuple[str, ...] = (),
        corr_id: str | None = None,
    ) -> Passage:
        """Say what helps to understand an intent (HCP_CONTEXT).

        Raises:
            Everything that `send_intent` raises.
        """
        payload = m.HcpContext(
            intent_ref=intent_ref, context=context, constraints=constraints, shared_history=shared_history
        )
        return await self._sending.send(human_id, contact, payload, corr_id=corr_id)

    async def send_decision(
        self,
        human_id: str,
        contact: Contact,
        *,
        intent_ref: str,
        decision: str,
        rationale: str,
        alternatives: tuple[str, ...],
        follow_up: str = "",
        corr_id: str | None = None,
    ) -> Passage:
        """Say what was decided about an intent (HCP_DECISION).

        About an intent to `decide`, or one that is not known, it is a proposal: it is `asked`, and goes when the human
        said yes (HCP-10).

        Raises:
            PayloadSchemaError: The rationale is empty, or there is no alternative (HCP-6).
            Everything that `send_intent` raises.
        """
        payload = m.HcpDecision(
            intent_ref=intent_ref,
            decision=decision,
            rationale=rationale,
            alternatives=alternatives,
            follow_up=follow_up,
        )
        return await self._sending.send(human_id, contact, payload, corr_id=corr_id)

    async def send_feedback(
        self,
        human_id: str,
        contact: Contact,
        *,
        intent_ref: str,
        feedback: str,
        satisfaction: int,
        corrections: tuple[str, ...] = (),
        door: str,
        corr_id: str | None = None,
    ) -> Passage:
        """Say how it went (HCP_FEEDBACK). How satisfied a human is only the human says: through a door (HCP-10).

        Raises:
            ConsentError: `door_required`.
            Everything that `send_intent` raises.
        """
        if not door:
            raise refusal_of("door_required")
        payload = m.HcpFeedback(
            intent_ref=intent_ref, feedback=feedback, corrections=corrections, satisfaction=satisfaction
        )
        return await self._sending.send(human_id, contact, payload, corr_id=corr_id)

    async def outcome(self, human_id: str, msg_id: str, *, peer: str | None = None) -> str:
        """Wait until a message that `waits` or is `asked` about has ended: `ok`, or the code of what stood against it.

        Args:
            human_id: The human here.
            msg_id: The message's id.
            peer: Of a message that came in, whose it is: senders choose their ids. None: it is this node's own.

        Raises:
            ConsentError: `unknown_human`; `unknown_check_in` for a message that does not wait, and is not remembered.
        """
        return await self._sending.outcome(human_id, msg_id if peer is None else incoming_id(peer, msg_id))
