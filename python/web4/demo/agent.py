"""An honest agent of the demo: a whole node in a process of its own, with a loop, a person, and an extension."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import trio

from web4.actors.rebuilding import rebuild
from web4.agent import Result
from web4.demo.chapters.people import ENDLESS
from web4.demo.child import Setup, run, serve
from web4.demo.node_process import NodeQuestions, demo_node
from web4.demo.person import PersonQuestions
from web4.demo.proving import prove
from web4.foundation.digest import blake3_hex
from web4.journal.lane import Lane
from web4.protocols.cip.durable_lane import peer_definition
from web4.protocols.cip.lane import encode_state
from web4.protocols.cip.outbox.entries import MessagesTaken, MessageTaken
from web4.protocols.messages import cip as m
from web4.protocols.messages.lip import LipFetch, SourceRequest
from web4.trust import TrustEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from web4.agent import Task
    from web4.demo.extending import Extending
    from web4.node import Node

    Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Loop:
    """The agent's loop: it says what it was asked about, works without end at one topic, and hears answers."""

    def __init__(self) -> None:
        self._waiting: dict[str, trio.MemorySendChannel[Task]] = {}

    async def __call__(self, task: Task) -> Result:
        """Work on a task. Foreign text stays data."""
        await trio.lowlevel.checkpoint()
        if task.kind == "REPLY":
            reference = task.content["in_reply_to"]
            waiting = self._waiting.pop(str(getattr(reference, "text", reference)), None)
            if waiting is not None:
                waiting.send_nowait(task)
            return Result()
        topic = task.content["topic"].text
        if topic == ENDLESS:
            await trio.sleep_forever()
        return Result(content={"about": topic})

    def expect(self, msg_id: str) -> trio.MemoryReceiveChannel[Task]:
        """Where the answer to a message will come."""
        send, receive = trio.open_memory_channel[Any](1)
        self._waiting[msg_id] = send
        return receive


class AgentQuestions(NodeQuestions):
    """What the story can ask of an agent, beside what every demo can.

    Args:
        node: The agent's node.
        setup: What its process was told.
        loop: Its loop.
        nursery: Runs extensions until the agent ends.
    """

    def __init__(self, node: Node, setup: Setup, loop: Loop, nursery: trio.Nursery) -> None:
        super().__init__(node)
        self._setup = setup
        self._loop = loop
        self._nursery = nursery
        self._extending: Extending | None = None

    def answers(self) -> dict[str, Answer]:
        """Each question by its name."""
        return {
            **super().answers(),
            **PersonQuestions(self.node).answers(),
            "about": self.about,
            "forget": self.forget,
            "decision": self.decision,
            "facts": self.facts,
            "drop": self.drop,
            "taken": self.taken,
            "decide": self.decide,
            "read": self.read,
            "overload": self.overload,
            "lane": self.lane,
            "remembers": self.remembers,
            "prove": self.prove,
            "enable": self.enable,
            "call": self.call,
        }

    async def about(self, _: dict[str, Any]) -> dict[str, Any]:
        """How often this agent was started in its directory, this time included."""
        await trio.lowlevel.checkpoint()
        return {"life": self._setup.life}

    async def forget(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Know no more where a peer is."""
        await self.node.peers.remove(asked["peer"], by="operator", reason="operator")
        return {}

    async def decision(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Share a decision."""
        decision = m.SharedDecision(choice="wait", outcome="none yet", context={})
        share = m.DecisionShare(decision=decision, dmp_trace=self._trace(), retrospective="")
        return {"msg_id": await self.node.cip.send(asked["peer"], share)}

    async def facts(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Propose facts to a peer, one after the other; each is durable here before the next."""
        ids = []
        for statement in asked["statements"]:
            fact = m.Fact(
                statement=statement, domain="physics", confidence=0.9, sources=("observation",), context={}
            )
            proposal = m.FactPropose(fact=fact, dmp_trace=self._trace(), causal_links=())
            ids.append(await self.node.cip.send(asked["peer"], proposal))
        return {"msg_ids": ids}

    async def drop(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Break the promise: drop whatever waits for a peer. Only sabotage asks for it."""
        return {"dropped": len(await self.node.cip.purge(asked["peer"], lambda _: True, "sabotage"))}

    async def taken(self, asked: dict[str, Any]) -> dict[str, Any]:
        """How often each message was taken in, by the journal's records of a peer."""
        counts = dict.fromkeys(asked["msg_ids"], 0)
        async for event in self._records(asked["peer"]):
            several = event.messages if isinstance(event, MessagesTaken) else (event,)
            for one in several if isinstance(event, MessagesTaken | MessageTaken) else ():
                if one.msg_id in counts:
                    counts[one.msg_id] += 1
        return {"counts": counts}

    async def decide(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Let a person decide about a claim (KNOW-6a)."""
        claim = await self.node.knowledge.decide_as_human(
            asked["key"], asked["decision"], asked["human"], asked["reason"]
        )
        return {"status": claim.status, "rule": claim.rule}

    async def read(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Have a peer fetch something from the web, and wait for its answer."""
        msg_id = self.node.ids.uuid4()
        answer = self._loop.expect(msg_id)
        request = LipFetch(query=asked["uri"], constraints=())
        source = SourceRequest(uri=asked["uri"], trust_tier="unknown")
        await self.node.cip.send(asked["peer"], request, about=source, msg_id=msg_id)
        reply = (await answer.receive()).content
        words = {name: getattr(reply[name], "text", reply[name]) for name in ("status", "reason")}
        return {"msg_id": msg_id, **words}

    async def overload(self, _: dict[str, Any]) -> dict[str, Any]:
        """Say that this node has too much to do."""
        await trio.lowlevel.checkpoint()
        self.node.cip.set_state(presence="overloaded", lri=95)
        return {}

    async def lane(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What the journal has of a peer: its state's digest, rebuilt from the records, and who vouched for it."""
        found = await rebuild(self.node.journal, Lane("peer", asked["peer"]), peer_definition())
        vouched: TrustEvent | None = None
        async for event in self._records(asked["peer"]):
            if isinstance(event, TrustEvent) and event.event == "operator_promote":
                vouched = event
        known = {} if vouched is None else {"human": vouched.actor, "reason": vouched.reason}
        return {
            "trust": found.state.trust.state,
            "digest": blake3_hex(encode_state(found.state)),
            "records": found.head.seq,
            **known,
        }

    async def remembers(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What is known of a peer in this life, and what the journal has; an answer tells it if there is something."""
        found = await self.lane(asked)
        live = self.node.trust.state(asked["peer"])
        if found["records"]:
            told = {name: found[name] for name in ("human", "reason", "records") if name in found}
            self._setup.tell("remembered", peer=asked["peer"], trust=live, **told)
        return {**found, "live": live}

    async def prove(self, _: dict[str, Any]) -> dict[str, Any]:
        """Verify the journal whole, replay it, and compare with what lives in this process (JRN-12, JRN-22)."""
        extra = None if self._extending is None else self._extending.proof
        told = await prove(self.node, extra)
        shown = {**told, "findings": len(told["findings"])}
        self._setup.tell("journal_proven", **shown)
        return told

    async def enable(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Let a person enable an extension. Whoever has none does not wait for what they need to be imported."""
        extending = importlib.import_module("web4.demo.extending")
        self._extending = extending.Extending(self._setup, self.node, self._nursery)
        return await self._extending.enable(asked)

    async def call(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Call the extension."""
        assert self._extending is not None
        return await self._extending.call(asked)

    async def _records(self, peer: str) -> AsyncIterator[Any]:
        journal, lane, after = self.node.journal, Lane("peer", peer), 0
        while records := await journal.read(lane, after=after):
            for record in records:
                if record.payload is not None:
                    yield journal.registry.decode(record)
            after = records[-1].seq

    def _trace(self) -> m.DmpTrace:
        return m.DmpTrace(
            decision_id=self.node.ids.uuid4(),
            steps=("observed",),
            counterfactuals=("not told",),
            evidence=("seen",),
        )


async def main(setup: Setup, lines: AsyncIterator[dict[str, Any]]) -> None:
    """Be an agent until the input ends."""
    loop = Loop()
    async with demo_node(setup, handler=loop) as node, trio.open_nursery() as nursery:
        setup.emit("ready", fingerprint=node.fingerprint, url=next(iter(node.addresses), ""))
        await serve(lines, AgentQuestions(node, setup, loop, nursery).answers())
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    run(main)
