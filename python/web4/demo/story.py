"""The story of the demo: two agents meet, trust each other a little, and a third one tries to spoil it.

Every step asks the processes to do something and then looks at what their own events and logs say; nothing is
claimed because it was asked for (DEMO-5). A step whose check is sabotaged does its part wrongly, so that its check
has to fail.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import trio

from web4.demo.checks import CheckFailedError, Checks
from web4.demo.process import Child, ChildError, start_child
from web4.demo.timeline import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from web4.demo.program import DemoOptions
    from web4.demo.timeline import Timeline

    Event = dict[str, Any]

STEP_SECONDS = 10
"""How long a step waits for the event that it is about."""
SETTLE_SECONDS = 0.5
"""How long a sabotaged step waits to see that the event does not come."""

NEWS = """# News

- *Bob* is **trusted**, as of [today](https://example.org/today)
- Mallory is not
"""
NEWS_AS_TEXT = """News
====

- Bob is trusted, as of today [1]
- Mallory is not

[1] https://example.org/today"""
CHILDREN = 3
"""Processes that a tool starts before it hangs."""

PROCESSES = {"alice": "web4.demo.agent", "bob": "web4.demo.agent", "mallory": "web4.demo.hostile"}


class Story:
    """The processes, and what they have said so far."""

    def __init__(
        self,
        timeline: Timeline,
        checks: Checks,
        *,
        directory: Path,
        options: DemoOptions,
    ) -> None:
        self._timeline = timeline
        self._checks = checks
        self._transport = options.transport
        self._directory = directory
        self._seed = options.seed
        self._sabotage = options.sabotage
        self._said = trio.Event()
        self._children: dict[str, Child] = {}
        self._fingerprints: dict[str, str] = {}
        self._urls: dict[str, str] = {}
        self._logs: dict[str, list[dict[str, Any]]] = {}
        self._before: dict[str, str] = {}
        self._hung: set[int] = set()
        self._step = ""

    async def tell(self) -> str | None:
        """Start the processes and go through the steps; a failed check ends the story.

        Returns:
            Why the processes could not be started, or None.
        """
        failure: str | None = None
        async with trio.open_nursery() as nursery:
            async with AsyncExitStack() as stack:
                try:
                    self._stack, self._nursery = stack, nursery
                    for name in PROCESSES:
                        await self._start(name)
                except (CheckFailedError, ChildError, OSError) as error:
                    failure = str(error)
                else:
                    await self._take_steps()
            nursery.cancel_scope.cancel()
        return failure

    async def _take_steps(self) -> None:
        try:
            await self._recall()
        except (CheckFailedError, ChildError) as error:
            self._checks.failed("remembered", str(error))
            return
        for name, step in self._steps():
            if self._timeline.lost is not None:
                return
            self._step = name
            try:
                await step()
            except (CheckFailedError, ChildError) as error:
                self._checks.failed(name, str(error))
                return
            self._checks.passed(name)

    def _steps(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        return [
            ("rtt_open", self.rtt_open),
            ("handshake", self.handshake),
            ("gate_refuses", self.gate_refuses),
            ("promote", self.promote),
            ("intent_reply", self.intent_reply),
            ("fact_delivered", self.fact_delivered),
            ("garbage_refused", self.garbage_refused),
            ("wrong_key_refused", self.wrong_key_refused),
            ("tamper_refused", self.tamper_refused),
            ("replay_refused", self.replay_refused),
            ("foreign_sender_refused", self.foreign_sender_refused),
            ("trust_unchanged", self.trust_unchanged),
            ("extension_called", self.extension_called),
            ("hang_killed", self.hang_killed),
            ("served_after_kill", self.served_after_kill),
            ("remembered", self.remembered),
        ]

    # --- the steps --------------------------------------------------------------------------------------

    async def rtt_open(self) -> None:
        """Alice dials Bob by his fingerprint; both see whom they have."""
        self._timeline.note("alice dials bob, expecting his fingerprint")
        if self._sabotage == "handshake":
            await self._ask("bob", "overload")
        expected = "mallory" if self._sabotage == "rtt_open" else "bob"
        reply = await self._ask("alice", "dial", url=self._urls["bob"], peer=self._fingerprints[expected])
        if "refused" in reply:
            raise CheckFailedError(f"the dial was refused: {reply['refused']}")
        opened = await self._event("bob", "session_open", peer="alice")
        dialled = await self._event("alice", "session_open", peer="bob")
        if opened["session_id"] != dialled["session_id"]:
            raise CheckFailedError("the two ends name different sessions")
        if opened["pid"] == dialled["pid"]:
            raise CheckFailedError("both ends are one process")

    async def handshake(self) -> None:
        """HELLO, HELLO, VERIFY; both raise each other to probing, from unknown if they never met."""
        for node, peer in (("alice", "bob"), ("bob", "alice")):
            await self._event(node, "handshake_completed", peer=peer)
            risen = await self._event(node, "trust_transition", peer=peer)
            if (risen["payload"]["from"], risen["payload"]["to"]) != (self._before[node], "probing"):
                raise CheckFailedError(
                    f"{node}'s trust went {risen['payload']['from']} → {risen['payload']['to']}"
                )

    async def gate_refuses(self) -> None:
        """Bob does not take a decision from somebody he is only probing."""
        self._timeline.note("alice shares a decision with bob, who does not trust her enough for that")
        if self._sabotage == "gate_refuses":
            await self._promote("bob", "alice")
        await self._ask("alice", "decision", peer=self._fingerprints["bob"])
        refused = await self._refusal("bob", "alice")
        self._expect(refused, "gate")

    async def promote(self) -> None:
        """A person at Bob's node promotes Alice, and the other way round."""
        self._timeline.note("a person at each node vouches for the other")
        for node, peer in (("bob", "alice"), ("alice", "bob")):
            if self._sabotage != "promote":
                await self._promote(node, peer)
            log = (await self._trust(node, peer))["log"]
            if not log or log[-1]["to"] != "trusted" or not log[-1]["actor"] or not log[-1]["reason"]:
                raise CheckFailedError(f"{node}'s log does not say who promoted {peer} and why")
            self._logs[node] = log

    async def intent_reply(self) -> None:
        """Alice asks, Bob accepts; the answer carries the question's conversation."""
        self._timeline.note("alice asks bob something, and proposes a fact")
        if self._sabotage == "intent_reply":
            await self._ask("bob", "overload")
        reply = await self._ask("alice", "intent", peer=self._fingerprints["bob"], topic="the weather")
        self._timeline.note(f"alice has bob's answer after {reply.get('latency_us', 0) / 1000:.2f} ms")
        if reply.get("status") != "accepted" or not reply.get("answers_it"):
            raise CheckFailedError(f"the answer was {reply.get('status') or reply.get('refused')}")

    async def fact_delivered(self) -> None:
        """Alice proposes a fact; Bob's application gets exactly that."""
        statement = "water boils at 100 °C at sea level"
        said = "water boils at 90 °C" if self._sabotage == "fact_delivered" else statement
        await self._ask("alice", "fact", peer=self._fingerprints["bob"], statement=said)
        delivered = await self._event("bob", "envelope_routed", peer="alice")
        if delivered["payload"]["statement"] != statement:
            raise CheckFailedError("bob's application got something else")

    async def garbage_refused(self) -> None:
        """Plain bytes at Bob's door."""
        self._timeline.note("mallory, a third process with a sound key of its own, tries five things")
        target = "mallory" if self._sabotage == "garbage_refused" else "bob"
        await self._ask("mallory", "garbage", url=self._urls[target])
        refused = await self._event("bob", "carrier_failed")
        if refused.get("peer") is not None:
            raise CheckFailedError("bytes without a key were charged to a fingerprint")
        self._expect(refused, "unreachable", "damaged")

    async def wrong_key_refused(self) -> None:
        """Alice dials Mallory's address, expecting Bob."""
        expected = "mallory" if self._sabotage == "wrong_key_refused" else "bob"
        reply = await self._ask(
            "alice", "dial", url=self._urls["mallory"], peer=self._fingerprints[expected], expect_refusal=True
        )
        if reply.get("refused") != "wrong_key":
            raise CheckFailedError(f"the dial came to {reply.get('refused', 'a session')}")
        self._expect(await self._event("alice", "auth_failure"), "wrong_key")

    async def tamper_refused(self) -> None:
        """An INTENT with another topic than the one that was signed."""
        await self._attack("tamper")
        self._expect(await self._refusal("bob", "mallory"), "signature")

    async def replay_refused(self) -> None:
        """A HELLO whose nonce Bob has seen."""
        await self._attack("replay")
        self._expect(await self._refusal("bob", "mallory"), "nonce_replayed")

    async def foreign_sender_refused(self) -> None:
        """A message in Mallory's session that says it is Alice's."""
        await self._attack("foreign_sender", **{"as": self._fingerprints["alice"], "as_name": "alice"})
        self._expect(await self._refusal("bob", "mallory"), "identity")
        while (await self._event("bob", "trust_transition", peer="mallory"))["payload"][
            "to"
        ] != "blacklisted":
            pass  # what came of the attacks before
        if (await self._trust("bob", "mallory"))["state"] != "blacklisted":
            raise CheckFailedError("bob still listens to mallory")

    async def trust_unchanged(self) -> None:
        """Nothing of that moved what Alice and Bob think of each other."""
        if self._sabotage == "trust_unchanged":
            await self._operator("bob", "block", "alice", "sabotage")
        for node, peer in (("alice", "bob"), ("bob", "alice")):
            trust = await self._trust(node, peer)
            if trust["state"] != "trusted" or trust["log"] != self._logs[node]:
                raise CheckFailedError(f"{node} holds {peer} {trust['state']}, with another log than before")

    async def extension_called(self) -> None:
        """Alice's person enables an extension; a tool of it is called, and works in a process of its own."""
        self._timeline.note("alice's person enables an extension: Markdown to text; alice calls it")
        await self._ask("alice", "enable", human="alice's person")
        called = await self._call(
            "to_text", markdown="# No news" if self._sabotage == "extension_called" else NEWS
        )
        self._expect_outcome(called, "ok", None)
        if called["value"]["text"] != NEWS_AS_TEXT:
            raise CheckFailedError("the extension made something else of it")
        if called["worker"] in {child.pid for child in self._children.values()}:
            raise CheckFailedError("it did not run in a process of its own")
        await self._event("alice", "extension_progress")

    async def hang_killed(self) -> None:
        """A tool that starts processes in other sessions and spins: killed at its deadline, whole."""
        self._timeline.note("alice calls a tool of it that hangs, and has processes in sessions of their own")
        hung = await self._call("hang", children=0 if self._sabotage == "hang_killed" else CHILDREN)
        self._expect_outcome(hung, "timeout", "extension_timeout")
        if hung["elapsed_ms"] < hung["timeout_ms"]:
            raise CheckFailedError(f"it was killed after {hung['elapsed_ms']} ms, before its deadline")
        if hung.get("processes", 0) < 1 + CHILDREN or hung["survivors"]:
            raise CheckFailedError(f"{hung.get('survivors')} of {hung.get('processes')} processes are left")
        self._timeline.note(
            f"killed {hung['elapsed_ms'] - hung['timeout_ms']:.1f} ms after its deadline: "
            f"{hung['processes']} processes, {hung['survivors']} survivors"
        )
        self._hung = {hung["worker"]}

    async def served_after_kill(self) -> None:
        """The same extension answers again, from a worker that is none of the two."""
        again = (
            await self._call("hang")
            if self._sabotage == "served_after_kill"
            else await self._call("to_text", markdown=NEWS)
        )
        self._expect_outcome(again, "ok", None)
        if again["value"]["text"] != NEWS_AS_TEXT or again["worker"] in self._hung:
            raise CheckFailedError("it was not served as before, by another worker")

    async def remembered(self) -> None:
        """Bob is killed as by a crash. Started again on his journal he is who he was, byte for byte."""
        self._timeline.note("bob is killed, and started again on his journal")
        before = await self._ask("bob", "lane", peer=self._fingerprints["alice"])
        await self._children["bob"].kill()
        await self._ask("alice", "part", peer=self._fingerprints["bob"])
        await self._start("bob", elsewhere=self._sabotage == "remembered")
        again = await self._ask("bob", "remembers", peer=self._fingerprints["alice"])
        if again["live"] != "trusted" or again.get("human") != "bob's person":
            raise CheckFailedError(f"bob holds alice {again['live']} after a restart")
        if (again["digest"], again["records"]) != (before["digest"], before["records"]):
            raise CheckFailedError("bob's lane of alice is not what it was before he was killed")
        verified = await self._ask("bob", "verified")
        if verified["findings"] or verified["digests"][self._fingerprints["alice"]] != again["digest"]:
            raise CheckFailedError(f"bob's journal does not hold: {verified['findings']}")
        self._timeline.note(f"the journal holds: {verified['records']} records verified and replayed")
        of_mallory = await self._ask("bob", "remembers", peer=self._fingerprints["mallory"])
        if of_mallory["live"] != "blacklisted":
            raise CheckFailedError(f"bob holds mallory {of_mallory['live']} after a restart")

    # --- what the steps are made of -----------------------------------------------------------------------

    async def _recall(self) -> None:
        """See that what an earlier run left is known before anybody dials; then let people take it back.

        Agents that trust each other from the start could not show how trust begins.
        """
        pairs = (("alice", "bob"), ("bob", "alice"))
        found = {
            node: await self._ask(node, "remembers", peer=self._fingerprints[peer]) for node, peer in pairs
        }
        for node, peer in pairs:
            self._before[node] = live = found[node]["live"]
            if live != found[node]["trust"]:
                raise CheckFailedError(f"{node} holds {peer} {live}; the journal says {found[node]['trust']}")
            if live == "unknown":
                continue
            who = f", vouched for by {found[node]['human']}" if "human" in found[node] else ""
            self._timeline.note(
                f"remembered: {node} holds {peer} {live}{who}; a person takes that back for this run"
            )
            if live != "blacklisted":
                await self._operator(node, "block", peer, "the story begins again")
            await self._operator(node, "forgive", peer, "the story begins again")
            self._before[node] = "probing"

    async def _operator(self, node: str, do: str, peer: str, reason: str) -> None:
        await self._ask(node, do, peer=self._fingerprints[peer], human=f"{node}'s person", reason=reason)

    async def _start(self, name: str, *, elsewhere: bool = False) -> None:
        url = "tcp://127.0.0.1:0" if self._transport == "tcp" else f"unix://{self._directory / name}.sock"
        seed = None if self._seed is None else f"{self._seed}/{name}"
        # Identities of different seeds are different agents, and have journals of their own.
        own = f"{name}{'' if self._seed is None else f'-{self._seed}'}{'-elsewhere' if elsewhere else ''}"
        configuration = {"name": name, "url": url, "seed": seed, "directory": str(self._directory / own)}
        self._children[name] = await self._stack.enter_async_context(
            start_child(PROCESSES[name], name, configuration, self._on_event, self._wake, self._nursery)
        )
        ready = (await self._event(name, "ready"))["payload"]
        self._fingerprints[name], self._urls[name] = ready["fingerprint"], ready["url"]
        self._timeline.name(ready["fingerprint"], name)

    def _on_event(self, event: Event) -> None:
        self._timeline.event(event)
        self._wake()

    def _wake(self) -> None:
        self._said.set()
        self._said = trio.Event()

    async def _refusal(self, node: str, peer: str) -> Event:
        """The next refusal that a node has said about a peer."""
        return await self._event(node, *REFUSALS, peer=peer)

    async def _event(self, node: str, *kinds: str, peer: str | None = None) -> Event:
        """The first event of these kinds that a node has said about a peer and no step has looked at, or the next."""
        fingerprint = None if peer is None else self._fingerprints[peer]
        patience = SETTLE_SECONDS if self._sabotage == self._step else STEP_SECONDS
        with trio.move_on_after(patience):
            while True:
                said = self._said
                for event in self._timeline.events:
                    fits = event["type"] in kinds and event["node"] == node and not event.get("seen")
                    if fits and (fingerprint is None or event.get("peer") == fingerprint):
                        event["seen"] = True
                        return event
                if self._children[node].ended:
                    raise ChildError(f"{node} has ended")
                await said.wait()
        about = "" if peer is None else f" about {peer}"
        raise CheckFailedError(f"{node} said no {' or '.join(sorted(kinds))}{about} within {patience} s")

    def _expect(self, event: Event, *codes: str) -> None:
        if event.get("outcome") != "refused" or event.get("code") not in codes:
            raise CheckFailedError(f"{event['type']} says {event.get('code')}, not {' or '.join(codes)}")

    async def _ask(self, name: str, do: str, **arguments: Any) -> dict[str, Any]:
        with trio.move_on_after(STEP_SECONDS):
            return await self._children[name].ask(do, **arguments)
        raise CheckFailedError(f"{name} did not {do} within {STEP_SECONDS} s")

    async def _call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return await self._ask("alice", "call", tool=tool, arguments=arguments, human="alice's person")

    def _expect_outcome(self, called: dict[str, Any], ended: str, code: str | None) -> None:
        if (called.get("ended"), called.get("failure")) != (ended, code):
            raise CheckFailedError(f"the call came to {called.get('ended')}: {called.get('failure')}")

    async def _attack(self, do: str, **arguments: Any) -> None:
        sabotage = self._sabotage == f"{do}_refused"
        await self._ask(
            "mallory",
            do,
            url=self._urls["bob"],
            peer=self._fingerprints["bob"],
            sabotage=sabotage,
            **arguments,
        )

    async def _promote(self, node: str, peer: str) -> None:
        await self._operator(node, "promote", peer, "met in person")

    async def _trust(self, node: str, peer: str) -> dict[str, Any]:
        reply = await self._ask(node, "trust", peer=self._fingerprints[peer])
        if "state" not in reply:
            raise CheckFailedError(f"{node} does not say how far it trusts {peer}")
        return reply
