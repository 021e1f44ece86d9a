"""An honest agent of the demo: a whole node with a key, a door, a trust of its own, in a process of its own."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from web4 import rtt
from web4.actors.rebuilding import rebuild
from web4.demo.child import Setup, run, serve
from web4.foundation.clock import SystemClock
from web4.foundation.digest import blake3_hex
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.event_types import EventRegistry
from web4.journal.lane import Lane
from web4.journal.opening import open_journal
from web4.journal.replay import replay
from web4.journal.verify import verify
from web4.protocols.cip import CipOptions, CipRuntime, accept
from web4.protocols.cip.agreement import Offer
from web4.protocols.cip.durable_lane import peer_definition
from web4.protocols.cip.lane import PEER_EVENTS, encode_state
from web4.protocols.messages import cip as m
from web4.trust import ManualOverride, OperatorBlock, OperatorPromote, TrustEvent, TrustRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.demo.extending import Extending
    from web4.journal.journal import Journal
    from web4.protocols.cip import Delivery, IntentAnswer

CAPABILITIES = ("state_exchange", "knowledge_exchange", "dmp_trace")


class Agent:
    """What the demo can ask of the agent."""

    def __init__(self, setup: Setup, endpoint: rtt.Endpoint, journal: Journal, nursery: trio.Nursery) -> None:
        self._setup = setup
        self._endpoint = endpoint
        self._journal = journal
        self._nursery = nursery
        self._clock = SystemClock()
        self._answers: dict[str, trio.MemorySendChannel[m.ReplyEnvelope]] = {}
        self._sessions: dict[str, rtt.RttSession] = {}
        self._extending: Extending | None = None
        self.trust = TrustRegistry(emit=setup.emit)
        self.cip = CipRuntime(
            setup.identity,
            options=CipOptions(agent_id=setup.name, offer=Offer(capabilities=CAPABILITIES)),
            trust=self.trust,
            accept_intent=self._accept_intent,
            emit=setup.emit,
            ids=setup.ids,
            journal=journal,
        )

    async def serve_all(self) -> None:
        """Serve every session that peers open."""
        async for session in self._endpoint.sessions():
            self._nursery.start_soon(self.cip.serve, session)

    async def heed_all(self) -> None:
        """Take in what reaches the application."""
        async for delivery in self.cip.inbox:
            message = delivery.message
            if isinstance(message, m.ReplyEnvelope):
                waiting = self._answers.pop(str(message.corr_id), None)
                if waiting is not None:
                    waiting.send_nowait(message)
            elif isinstance(message, m.FactProposeEnvelope):
                self._setup.emit(
                    "envelope_routed",
                    peer=delivery.peer,
                    protocol="cip",
                    msg_id=message.msg_id,
                    type=message.type,
                    admission=delivery.admission,
                    statement=message.payload.fact.statement,
                )
            await self.cip.settled(delivery)

    async def _accept_intent(self, delivery: Delivery) -> IntentAnswer:
        return accept(f"{self._setup.name} is on it")

    # --- questions ----------------------------------------------------------------------------------------

    async def dial(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Open a session and serve it until this process ends."""
        opened = await self._nursery.start(self._keep_session, arguments["url"], arguments["peer"])
        if isinstance(opened, rtt.RttError):
            raise opened
        return {}

    async def _keep_session(
        self, url: str, peer: str, task_status: trio.TaskStatus[rtt.RttError | None]
    ) -> None:
        try:
            async with self._endpoint.dial(url, expect=peer) as session:
                self._sessions[peer] = session
                task_status.started(None)
                await self.cip.serve(session)
        except rtt.RttError as error:
            task_status.started(error)

    async def part(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """End the session with a peer that this agent dialled."""
        self._sessions.pop(arguments["peer"]).abort("parted")
        return {}

    async def intent(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Ask a peer, and wait for its first answer."""
        began_ns = self._clock.monotonic_ns()
        conversation = self._setup.ids.uuid4()
        send, receive = trio.open_memory_channel[m.ReplyEnvelope](1)
        self._answers[conversation] = send
        msg_id = await self.cip.send_intent(
            arguments["peer"], goal="ask", topic=arguments["topic"], corr_id=conversation
        )
        reply = (await receive.receive()).payload
        return {
            "status": reply.status,
            "answers_it": reply.in_reply_to == msg_id,
            "latency_us": (self._clock.monotonic_ns() - began_ns) // 1000,
        }

    async def fact(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Propose a fact."""
        fact = m.Fact(
            statement=arguments["statement"], domain="physics", confidence=0.9, sources=(), context={}
        )
        return {"msg_id": await self.cip.propose_fact(arguments["peer"], fact, self._trace())}

    async def decision(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Share a decision."""
        decision = m.SharedDecision(choice="wait", outcome="none yet", context={})
        share = m.DecisionShare(decision=decision, dmp_trace=self._trace(), retrospective="")
        return {"msg_id": await self.cip.send(arguments["peer"], share)}

    async def promote(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Let a person vouch for a peer."""
        await self.cip.trust_command(
            arguments["peer"],
            OperatorPromote(
                at_ms=self._clock.wall_ms(), human=arguments["human"], reason=arguments["reason"]
            ),
        )
        return await self.trust_in(arguments)

    async def block(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Let a person block a peer."""
        await self.cip.trust_command(
            arguments["peer"],
            OperatorBlock(at_ms=self._clock.wall_ms(), human=arguments["human"], reason=arguments["reason"]),
        )
        return await self.trust_in(arguments)

    async def forgive(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Let a person take a peer off the blacklist, to probing."""
        await self.cip.trust_command(
            arguments["peer"],
            ManualOverride(at_ms=self._clock.wall_ms(), human=arguments["human"], reason=arguments["reason"]),
        )
        return await self.trust_in(arguments)

    async def overload(self, _: dict[str, Any]) -> dict[str, Any]:
        """Say that this node has too much to do."""
        self.cip.set_state(presence="overloaded", lri=95)
        return {}

    async def trust_in(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """How far a peer is trusted, and the log that says why."""
        fsm = self.trust.fsm(arguments["peer"])
        log = [] if fsm is None else [msgspec.to_builtins(event) for event in fsm.log]
        return {"state": self.trust.state(arguments["peer"]), "log": log}

    async def lane(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What the journal has of a peer: its state's digest, rebuilt from the records, and who vouched for it."""
        lane = Lane("peer", arguments["peer"])
        state = (await rebuild(self._journal, lane, peer_definition())).state
        vouched: TrustEvent | None = None
        after = 0
        while records := await self._journal.read(lane, after=after):
            for record in records:
                event = self._journal.registry.decode(record)
                if isinstance(event, TrustEvent) and event.event == "operator_promote":
                    vouched = event
            after = records[-1].seq
        known = {} if vouched is None else {"human": vouched.actor, "reason": vouched.reason}
        return {
            "trust": state.trust.state,
            "digest": blake3_hex(encode_state(state)),
            "records": after,
            **known,
        }

    async def verified(self, _: dict[str, Any]) -> dict[str, Any]:
        """What is wrong with the journal's chains, snapshots and blobs, and whether replay comes to what is there."""
        backend, registry = self._journal.backend, self._journal.registry
        report = await verify(backend, registry)
        replayed = await replay(backend, {"peer": peer_definition()}, registry)
        findings = [f"{one.lane} {one.seq}: {one.detail}" for one in report.findings]
        return {
            "findings": [*findings, *(one.detail for one in replayed.divergences)],
            "records": report.records,
            "digests": {one.lane.id: one.digest for one in replayed.lanes},
        }

    async def remembers(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What is known of a peer in this life, and what the journal has; an event says it if there is something."""
        found = await self.lane(arguments)
        live = self.trust.state(arguments["peer"])
        if found["records"]:
            told = {name: found[name] for name in ("human", "reason", "records") if name in found}
            self._setup.emit("remembered", peer=arguments["peer"], state=live, trust=live, **told)
        return {**found, "live": live}

    async def enable(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Let a person enable an extension. Whoever has none does not wait for what they need to be imported."""
        extending = importlib.import_module("web4.demo.extending")
        self._extending = extending.Extending(self._setup, self._journal, self._nursery)
        return await self._extending.enable(arguments)

    async def call(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call the extension."""
        assert self._extending is not None
        return await self._extending.call(arguments)

    def _trace(self) -> m.DmpTrace:
        return m.DmpTrace(
            decision_id=self._setup.ids.uuid4(), steps=("observed",), counterfactuals=(), evidence=()
        )


async def main(setup: Setup, lines: AsyncIterator[dict[str, Any]]) -> None:
    """Be a node until the input ends."""
    registry = EventRegistry(PEER_EVENTS)
    async with (
        open_sqlite(setup.directory / "journal") as backend,
        open_journal(backend, registry=registry, identity=setup.identity) as journal,
        rtt.open_endpoint(setup.identity, emit=setup.emit, ids=setup.ids) as endpoint,
        trio.open_nursery() as nursery,
    ):
        agent = Agent(setup, endpoint, journal, nursery)
        async with agent.cip:
            nursery.start_soon(agent.serve_all)
            nursery.start_soon(agent.heed_all)
            listener = await endpoint.listen(setup.url, admit=agent.cip.admit)
            setup.emit("ready", fingerprint=setup.identity.fingerprint, url=listener.addresses[0])
            await serve(
                lines,
                {
                    "dial": agent.dial,
                    "part": agent.part,
                    "intent": agent.intent,
                    "fact": agent.fact,
                    "decision": agent.decision,
                    "promote": agent.promote,
                    "block": agent.block,
                    "forgive": agent.forgive,
                    "lane": agent.lane,
                    "verified": agent.verified,
                    "remembers": agent.remembers,
                    "overload": agent.overload,
                    "trust": agent.trust_in,
                    "enable": agent.enable,
                    "call": agent.call,
                },
            )
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    run(main)
