"""HCP on a node: consent, gate, check-ins and messages of its humans (WEB-6, section 11)."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from web4.foundation.errors import Web4Error
from web4.foundation.events import no_events
from web4.foundation.ids import SystemIds
from web4.protocols.hcp.acting import Acting
from web4.protocols.hcp.context import HumanContext
from web4.protocols.hcp.gate import Question, Verdict, gate
from web4.protocols.hcp.index import Index
from web4.protocols.hcp.lane import commands as c
from web4.protocols.hcp.lane.definition import HumanLane
from web4.protocols.hcp.lane.events import ActionConcluded, CheckIn, CheckInEnded, LineLeft
from web4.protocols.hcp.lanes import Lanes
from web4.protocols.hcp.performing import Performing
from web4.protocols.hcp.receiving import Receiving
from web4.protocols.hcp.refusing import refusal_of
from web4.protocols.hcp.saying import HumanMessages
from web4.protocols.hcp.scope import in_scope, standing
from web4.protocols.hcp.values import CHECK_IN_MS, Contact, checked_human_id
from web4.protocols.hcp.views import ConsentView, PersonView

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from web4.actors import LaneActors
    from web4.foundation.events import Emitter
    from web4.foundation.ids import IdSource
    from web4.journal.journal import Journal
    from web4.protocols.hcp.acting import Revoked
    from web4.protocols.hcp.acts import HumanAct
    from web4.protocols.hcp.context import HandOn, PurgeOutbox
    from web4.protocols.hcp.lane.replies import Reply
    from web4.protocols.hcp.lane.states import LaneState
    from web4.protocols.hcp.social import SocialState
    from web4.protocols.messages.hcp import SafetyFlag
    from web4.protocols.ports import SendMessage, TrustView
    from web4.protocols.router.results import Handler

_MOST_SLEEP: Final = 60.0
"""Seconds after which a clock that was set is noticed."""
_FURTHEST_MS: Final = 2 * CHECK_IN_MS
"""Nothing is due later than this but by a clock that was set back since."""
_RETRY_SECONDS: Final = 1.0


class Registers(Protocol):
    """What `register` needs of a router."""

    def register(
        self, protocol: str, type_name: str, handler: Handler, /, *, idempotent: bool = False
    ) -> None:
        """Append a handler to those of a type."""
        ...


class HcpRuntime(HumanMessages):
    """The humans of a node, and those at its peers that they have to do with.

        hcp = HcpRuntime(journal, agent_id="ada", send=cip.send, purge=cip.purge, trust=cip.trust)
        async with open_lane_actors(journal, {"human": hcp.definition}) as actors, trio.open_nursery() as nursery:
            hcp.bind(actors)
            await nursery.start(hcp.run)
            await hcp.add_human("grace", name="Grace", role="owner")
            await hcp.act("grace", Grant(), door="cli")
            await hcp.send_intent("grace", Contact(peer, "bob"), goal="align", topic="garden/fence")

    Agents send, and ask. What opens consent, or ends a restriction, is an act that a human did through a door, and says
    which (HCP-4): give doors to humans, not to agents.

    Args:
        journal: Where lanes are.
        agent_id: This node's agent: it names itself in every question to a human (HCP-10).
        send: Sends messages.
        purge: Drops what waits to be sent about a human.
        trust: How far peers are trusted.
        hand_on: Takes HCP_INTENT and HCP_CONTEXT that waited for a human, and may be handled now, to the handlers
            after the gate. `register` sets it to the router's `resume` if it is left out.
        emit: Gets `consent_changed`, `gate_result`, `check_in_asked` and `check_in_answered`, without how humans are.
        ids: Where ids come from.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        agent_id: str,
        send: SendMessage,
        purge: PurgeOutbox,
        trust: TrustView,
        hand_on: HandOn | None = None,
        emit: Emitter = no_events,
        ids: IdSource | None = None,
    ) -> None:
        self._journal = journal
        self._context = HumanContext(
            agent_id=agent_id,
            send=send,
            purge=purge,
            trust=trust,
            clock=journal.clock,
            ids=SystemIds() if ids is None else ids,
            emit=emit,
            lanes=Lanes(self._noticed),
            index=Index(emit),
            hand_on=hand_on,
        )
        self._receiving = Receiving(self._context)
        super().__init__(self._context)
        self._acting = Acting(self._context)
        self.definition = HumanLane(performer=Performing(self._context, self._receiving))
        """Of lanes of kind `human`, for `open_lane_actors`."""
        self._changed = trio.lowlevel.ParkingLot()
        self._changes = 0
        self._due = trio.Event()

    @property
    def hand_on(self) -> HandOn | None:
        """See the class."""
        return self._context.hand_on

    @hand_on.setter
    def hand_on(self, hand_on: HandOn | None) -> None:
        self._context.hand_on = hand_on

    # --- its life ---------------------------------------------------------------------------------------

    def bind(self, actors: LaneActors) -> None:
        """Take over the actors that run the lanes; `run` comes next."""
        self._context.lanes.bind(actors)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve, for ever: everything else waits until this runs. It has started once it knows who there is.

        Raises:
            JournalError: The journal cannot be read at start.
        """
        await self._context.index.read(self._journal, self.definition)
        async with trio.open_nursery() as nursery:
            self._context.lanes.serve(nursery)
            task_status.started()
            while True:
                await self._until_due()
                now = self._context.now()
                due = self._context.index.due.items()
                for human in [one for one, at in due if at <= now or at - now > _FURTHEST_MS]:
                    await self._look(human)

    async def _until_due(self) -> None:
        """Wait until some lane wants to be asked to look again, or has changed its mind about when."""
        self._due = trio.Event()
        next_ms = min(self._context.index.due.values(), default=None)
        wait = _MOST_SLEEP if next_ms is None else (next_ms - self._context.now()) / 1_000
        with trio.move_on_after(min(max(wait, 0), _MOST_SLEEP)):
            await self._due.wait()

    async def _look(self, human_id: str) -> None:
        try:
            await self._context.look_again(human_id)
        except Web4Error as error:
            self._context.emit(
                "error", severity="error", lane=f"human:{human_id}", where="check_ins", code=error.code
            )
            await trio.sleep(_RETRY_SECONDS)

    def _noticed(self, lane_id: str, reply: Reply) -> None:
        """Something became durable."""
        context = self._context
        context.index.note(lane_id, reply)
        for event in reply.events:
            match event:
                case ActionConcluded():
                    context.over(event.action_id, event.outcome)
                case LineLeft() | CheckInEnded() if event.reason:
                    context.over(event.action_id, event.reason)
                    if event.peer is not None:
                        context.lanes.start(self._receiving.decline, event)
                case _:
                    pass
        self._changes += bool(reply.events)
        self._due.set()
        self._changed.unpark_all()

    # --- humans -----------------------------------------------------------------------------------------

    async def add_human(
        self, human_id: str, *, name: str, role: str, flags: tuple[SafetyFlag, ...] = ()
    ) -> None:
        """Have a human on this node; said again, its name, role and flags change.

        No consent comes with it: until the human gives it, nothing is done for it or sent to it (HCP-4).

        Args:
            human_id: As an agent's id, 63 characters at most.
            name: What to call the human.
            role: What the human is to others.
            flags: What the human asks to be spared.

        Raises:
            ValueError: It is no human's id.
            Web4Error: The lane cannot be written.
        """
        add = c.AddHuman(
            human_id=checked_human_id(human_id), name=name, role=role, flags=flags, at=self._context.now()
        )
        await self._context.lanes.ask(human_id, add)
        self._context.index.locals[human_id] = None

    async def act(self, human_id: str, act: HumanAct, *, door: str) -> None:
        """Do what a human of this node did through a door; it is durable when this returns (HCP-4).

        After `Revoke` everything that runs for the human has been cancelled already.

        Args:
            human_id: Who.
            act: `Grant`, `Limit`, `Revoke`, `SetState`, `Answer`, `Restrict` or `Regrant`.
            door: Where it came through: `cli`, `dashboard` …

        Raises:
            ConsentError: `door_required`, `unknown_human`, `unknown_check_in`.
            ConsentDenied, PacingDeferred: After `Answer`: it was a yes, but meanwhile something else stands against it.
            ValueError: A scope or a state is none.
            Web4Error: The lane cannot be written. After a `Revoke` that could not be, nothing begins for this human
                until another word of it was recorded.
        """
        await self._acting.act(human_id, act, door=door)

    async def revoke(self, human_id: str, *, door: str) -> Revoked:
        """As `act` with `Revoke`, and wait until what was queued is purged, too; what was ended by it (HCP-3).

        Raises:
            ConsentError: `door_required`, `unknown_human`.
            Web4Error: See `act`.
        """
        return await self._acting.revoke(human_id, door=door)

    async def states(self) -> dict[str, LaneState]:
        """What is held of every human that is known, by lane: those of this node first. For doors (HCP-11)."""
        index = self._context.index
        return {
            lane: await self._context.lanes.state(lane) for lane in (*index.locals, *tuple(index.remotes))
        }

    async def consents(self) -> list[ConsentView]:
        """What every human that is known consents to, those of this node first."""
        index, views = self._context.index, []
        for lane in (*index.locals, *index.remotes):
            state = await self._context.lanes.state(lane)
            of = state.local or state.remote
            if of is not None:
                facts, contact = of.facts, index.remotes.get(lane)
                views.append(ConsentView(lane, contact, facts.consent, facts.scope, facts.said_ms))
        return views

    async def people(self) -> list[PersonView]:
        """Everybody at peers who is known."""
        found = []
        for contact in tuple(self._context.index.remotes.values()):
            state = await self._context.lanes.remote(contact)
            if state is not None:
                social = {local: relation.state for local, relation in state.relations.items()}
                found.append(PersonView(contact, state.name, state.role, state.facts.consent, social))
        return found

    async def acquainted(self, human_id: str, contact: Contact) -> SocialState:
        """Wait until both sides have said hello and neither is restricted; how far they have come (HCP-8)."""
        while True:
            seen = self._changes
            remote = await self._context.lanes.remote(contact)
            social = "untrusted" if remote is None else remote.relation(human_id).state
            if social in {"probing", "trusted"}:
                return social
            if seen == self._changes:
                await self._changed.park()

    # --- questions --------------------------------------------------------------------------------------

    async def pending(self, human_id: str) -> list[CheckIn]:
        """The questions to a human that wait for an answer, oldest first.

        Raises:
            ConsentError: `unknown_human`.
        """
        local = await self._context.lanes.local(human_id)
        if local is None:
            raise refusal_of("unknown_human")
        return list(local.check_ins)

    async def check_ins(self, human_id: str) -> AsyncIterator[CheckIn]:
        """Every question to a human, those that wait first, then the new ones: what a door shows (HCP-5).

        Raises, out of the loop:
            ConsentError: `unknown_human`.
        """
        shown: set[str] = set()
        while True:
            seen = self._changes
            waiting = await self.pending(human_id)
            shown &= {one.check_in_id for one in waiting}
            for one in waiting:
                if one.check_in_id not in shown:
                    shown.add(one.check_in_id)
                    yield one
            if seen == self._changes:
                await self._changed.park()

    # --- work and messages ------------------------------------------------------------------------------

    async def gate(
        self,
        human_id: str,
        contact: Contact,
        *,
        type: str = "HCP_INTENT",  # noqa: A002 - the name of the field it stands for
        topic: str | None = None,
    ) -> Verdict:
        """What the gate says of work or a message between two humans now; nothing is done or recorded (HCP-1).

        Raises:
            ConsentError: `unknown_human`.
        """
        local = await self._context.lanes.local(human_id)
        if local is None:
            raise refusal_of("unknown_human")
        other = await self._context.other(human_id, contact)
        return gate(
            Question(
                type=type,
                topic=topic,
                trust=other.trust,
                social=other.social,
                local=local.facts,
                remote=other.facts,
                now_ms=self._context.now(),
            )
        )

    @asynccontextmanager
    async def running(
        self, *humans: str | Contact, topic: str | None = None
    ) -> AsyncIterator[trio.CancelScope]:
        """Run work for humans: the body is cancelled at once when one of them revokes consent (HCP-3).

        The scope's `cancelled_caught` tells afterwards. Two who work for the same human each have a scope of their own.

        Args:
            humans: Those of this node by id, those at peers by `Contact`.
            topic: What it is about, if that is known: what waited for its turn may be out of scope by now (HCP-1).

        Raises:
            ConsentDenied: `consent_revoked`, `no_consent` or `out_of_scope`: it does not even begin.
        """
        lanes = tuple(one if isinstance(one, str) else one.lane_id for one in humans)
        with self._context.running.entered(lanes) as scope:
            for lane in lanes:
                state = await self._context.lanes.state(lane)
                of = state.local or state.remote
                consent = None if of is None else standing(of.facts, self._context.now())
                if of is None or consent in {None, "revoked"}:
                    raise refusal_of("no_consent" if consent is None else "consent_revoked")
                if consent == "limited" and topic is not None and not in_scope(of.facts.scope, topic):
                    raise refusal_of("out_of_scope")
            yield scope

    @contextmanager
    def scope(self, *humans: str | Contact) -> Iterator[trio.CancelScope]:
        """As `running`, for those who cannot wait: the scope is cancelled at once if consent is not there already."""
        lanes = tuple(one if isinstance(one, str) else one.lane_id for one in humans)
        with self._context.running.entered(lanes) as scope:
            if any(self._context.index.consent(lane) in {None, "revoked"} for lane in lanes):
                scope.cancel()
            yield scope

    # --- the router -------------------------------------------------------------------------------------

    def register(self, router: Registers) -> None:
        """Register the handlers of HCP's types. What the gate lets pass goes on to those registered after.

        What had to wait goes to them by the router's `resume`.
        """
        add: Any = router.register
        if self.hand_on is None:
            self.hand_on = getattr(router, "resume", None)
        for name in ("HCP_HELLO", "HCP_STATE_UPDATE"):
            add("hcp", name, self._receiving.on_signal, idempotent=True)
        for name in ("HCP_INTENT", "HCP_CONTEXT", "HCP_DECISION", "HCP_FEEDBACK"):
            add("hcp", name, self._receiving.on_action, idempotent=True)
