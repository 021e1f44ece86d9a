"""The effects of humans' lanes: messages sent and handed on, and what a human's word leads to elsewhere (HCP-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from web4.foundation.errors import Web4Error
from web4.protocols.cip.actions import Delivery
from web4.protocols.hcp.lane import commands as c
from web4.protocols.hcp.social import ALWAYS
from web4.protocols.hcp.telling import told_state, update
from web4.protocols.hcp.values import Contact, derived_uuid4
from web4.protocols.messages.hcp import HcpFeedback, HumanParties, HumanState, HumanStateClaim
from web4.protocols.messages.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.protocols.hcp.context import HumanContext, QueuedMessage
    from web4.protocols.hcp.lane.events import Action, FollowUpRequested
    from web4.protocols.hcp.receiving import Receiving


class Performing:
    """See `lane.Performer`.

    Args:
        context: See `HumanContext`.
        receiving: Takes in what waited and came from a peer.
    """

    def __init__(self, context: HumanContext, receiving: Receiving) -> None:
        self._context = context
        self._receiving = receiving

    def now(self) -> int:
        """See `Performer.now`."""
        return self._context.now()

    def over(self, action_id: str, outcome: str, human_id: str | None) -> None:
        """See `Performer.over`."""
        self._context.over(action_id, outcome)
        if human_id is not None:
            self._context.lanes.start(self._soon, human_id)

    # --- messages ---------------------------------------------------------------------------------------

    async def act(self, action: Action) -> str:
        """See `Performer.act`. It runs for both humans: a revocation by either ends it, unless HCP-3 leaves it."""
        context, error = self._context, None
        await context.lanes.ready()
        outcome = "consent_revoked"
        lanes = () if action.type in ALWAYS else (action.local, action.lane_id)
        with context.running.entered(lanes):
            try:
                await (self._send(action) if action.direction == "out" else self._hand_on(action))
                outcome = "ok"
            except Web4Error as failure:
                error, outcome = failure.with_traceback(None), failure.code
        context.over(action.action_id, outcome, error)
        context.lanes.start(self._soon, action.local)
        return outcome

    async def _soon(self, human_id: str) -> None:
        """The next in line goes on, once this one's conclusion was decided."""
        try:
            await self._context.look_again(human_id)
        except Web4Error as error:
            self._failed("line", human_id, error)

    async def _send(self, action: Action) -> None:
        context, contact = self._context, Contact(action.peer, action.human_id)
        payload: Any = msgspec.convert(action.document, TYPES[action.type].payload)
        local = await context.lanes.local(action.local)
        assert local is not None
        other = await context.other(action.local, contact)
        state = told_state(local, other)
        about = HumanParties(sender=action.local, receiver=action.human_id, state=state)
        await context.send(action.peer, payload, corr_id=action.corr_id, about=about, msg_id=action.action_id)
        at, msg_id, human = context.now(), action.action_id, action.local
        if action.type == "HCP_HELLO":
            greet = c.Greet(
                peer=action.peer,
                human_id=action.human_id,
                local=human,
                msg_id=msg_id,
                side="local",
                at=at,
            )
            await context.lanes.ask(action.lane_id, greet)
        elif isinstance(payload, HcpFeedback):
            rate = c.Rate(
                local=human,
                msg_id=msg_id,
                side="local",
                intent=payload.intent_ref,
                satisfaction=payload.satisfaction,
                corrected=bool(payload.corrections),
                at=at,
            )
            await context.lanes.ask(action.lane_id, rate)

    async def _hand_on(self, action: Action) -> None:
        """Give a message that waited to whom it would have come at once."""
        delivery = await self._delivery(action)
        if action.type in {"HCP_DECISION", "HCP_FEEDBACK"}:
            await self._receiving.take(delivery)
        elif self._context.hand_on is not None:
            passed = (action.peer, action.msg_id)
            self._context.handing.add(passed)
            try:
                await self._context.hand_on(delivery)
            finally:
                self._context.handing.discard(passed)

    async def _delivery(self, action: Action) -> Delivery:
        """The delivery again, with the human's newest state in the place of that of then (HCP-11)."""
        received = action.received
        assert received is not None
        remote = await self._context.lanes.remote(Contact(action.peer, action.human_id))
        assert remote is not None
        said = msgspec.structs.asdict(remote.facts.said)
        state = HumanStateClaim(human=HumanState(**said, consent=remote.facts.consent or "revoked"))
        document = {**action.document, "state": msgspec.to_builtins(state)}
        fields: Any = msgspec.structs.asdict(received)
        return Delivery(
            peer=action.peer,
            message=msgspec.convert(document, TYPES[action.type].envelope),  # type: ignore[arg-type]
            **fields,
        )

    # --- what a word leads to ---------------------------------------------------------------------------

    async def follow_up(self, request: FollowUpRequested) -> tuple[str, int]:
        """See `Performer.follow_up`. What fails for one peer is reported, and holds up no other."""
        await self._context.lanes.ready()
        contact = self._context.index.remotes.get(request.of)
        if contact is not None:
            return "ok", await self._revoked_there(contact)
        purged = 0
        if request.what == "revoked":
            purged = await self._revoked_here(request)
            self._context.purged(request.effect_id, purged)
        elif request.what == "granted":
            await self._reopen(request)
        await self._tell(request)
        self._context.lanes.start(self._soon, request.of)
        return "ok", purged

    async def _revoked_there(self, contact: Contact) -> int:
        """A human at a peer has revoked consent."""
        context = self._context
        context.running.stop(contact.lane_id)
        remote = await context.lanes.remote(contact)
        for local in () if remote is None else remote.relations:
            await context.lanes.ask(local, c.EndFor(lane_id=contact.lane_id, at=context.now()), control=True)
        await context.running.left(contact.lane_id)

        def towards(queued: QueuedMessage) -> bool:
            return queued.humans[1:] == (contact.human_id,) and queued.type not in ALWAYS

        return await self._purge(contact.peer, towards)

    async def _revoked_here(self, request: FollowUpRequested) -> int:
        """A human of this node has revoked consent. Waiting ends on its lane by the event that led here."""
        context = self._context
        context.running.stop(request.of)
        await context.running.left(request.of)
        contacts = await self._contacts(request.of)
        # Done again after a crash, it must not take back what it told itself.
        telling = {_told_id(request, one) for one in contacts}

        def of_the_human(queued: QueuedMessage) -> bool:
            # What says how the human is goes with the rest: it was for those who held consent (HCP-11).
            return queued.humans[:1] == (request.of,) and queued.msg_id not in telling

        purged = 0
        for peer in dict.fromkeys(one.peer for one in contacts):
            purged += await self._purge(peer, of_the_human)
        for one in contacts:
            close = c.Close(local=request.of, cause="local", at=context.now(), token=request.effect_id)
            await context.lanes.ask(one.lane_id, close)
        return purged

    async def _reopen(self, request: FollowUpRequested) -> None:
        for one in await self._contacts(request.of):
            reopen = c.Reopen(
                local=request.of,
                causes=("local",),
                door=request.door or "",
                at=self._context.now(),
                token=request.effect_id,
            )
            await self._context.lanes.ask(one.lane_id, reopen)

    async def _tell(self, request: FollowUpRequested) -> None:
        """Tell those who are acquainted with a human. Done again, it says the same under the same ids."""
        context = self._context
        local = await context.lanes.local(request.of)
        assert local is not None
        for one in await self._contacts(request.of):
            other = await context.other(request.of, one)
            if other.trust not in {"probing", "trusted"}:
                continue
            about = HumanParties(sender=request.of, receiver=one.human_id, state=told_state(local, other))
            try:
                await context.send(one.peer, update(local, other), about=about, msg_id=_told_id(request, one))
            except Web4Error as error:
                self._failed("tell", request.of, error, peer=one.peer)

    async def _contacts(self, human_id: str) -> list[Contact]:
        """The humans at peers that one of this node is acquainted with."""
        local = await self._context.lanes.local(human_id)
        known = {} if local is None else local.known
        contacts = [self._context.index.remotes.get(lane) for lane in known]
        return [one for one in contacts if one is not None]

    async def _purge(self, peer: str, where: Callable[[QueuedMessage], bool]) -> int:
        try:
            return len(await self._context.purge(peer, where, "consent_revoked"))
        except Web4Error as error:
            self._failed("purge", "", error, peer=peer)
            raise

    def _failed(self, where: str, human_id: str, error: Web4Error, *, peer: str | None = None) -> None:
        self._context.emit(
            "error",
            severity="error",
            lane=f"human:{human_id}" if human_id else None,
            peer=peer,
            protocol="hcp",
            where=where,
            code=error.code,
            error=type(error).__name__,
        )


def _told_id(request: FollowUpRequested, contact: Contact) -> str:
    """Under which id a human's word is told: the same if it is done again."""
    return derived_uuid4(request.effect_id, contact.lane_id)
