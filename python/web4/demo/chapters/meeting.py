"""Alice and bob meet, prove who they are, and are vouched for by their people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from web4.demo.checks import CheckFailedError

if TYPE_CHECKING:
    from web4.demo.stage import Stage


class Meeting:
    """From nothing to an answer."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def wrong_key_refused(self) -> None:
        """Alice was told that bob is where mallory is."""
        stage = self._stage
        stage.timeline.note(
            "alice was told that bob is at mallory's address, and dials it, expecting his fingerprint"
        )
        expected = "mallory" if stage.sabotage == "wrong_key_refused" else "bob"
        await stage.ask("alice", "know", peer=stage.fingerprints[expected], addresses=[stage.urls["mallory"]])
        stage.expect(await stage.event("alice", "auth_failure"), "wrong_key")

    async def rtt_open(self) -> None:
        """Alice dials bob by his fingerprint; both see whom they have."""
        stage = self._stage
        stage.timeline.note("alice dials bob where he is")
        if stage.sabotage == "handshake":
            await stage.ask("bob", "overload")
        await stage.ask("alice", "forget", peer=stage.fingerprints["bob"])
        expected = "mallory" if stage.sabotage == "rtt_open" else "bob"
        await stage.ask("alice", "know", peer=stage.fingerprints[expected], addresses=[stage.wire.url])
        opened = await stage.event("bob", "session_open", peer="alice")
        dialled = await stage.event("alice", "session_open", peer="bob")
        if opened["session_id"] != dialled["session_id"]:
            raise CheckFailedError("the two ends name different sessions")
        if opened["pid"] == dialled["pid"]:
            raise CheckFailedError("both ends are one process")
        stage.session = opened["session_id"]

    async def handshake(self) -> None:
        """HELLO, HELLO, VERIFY; both raise each other to probing, from unknown if they never met."""
        stage = self._stage
        for node, peer in (("alice", "bob"), ("bob", "alice")):
            await stage.event(node, "handshake_completed", peer=peer)
            risen: dict[str, Any] = {"from": stage.before[node], "to": "probing"}
            await stage.event(node, "trust_transition", peer=peer, **risen)

    async def gate_refuses(self) -> None:
        """Bob does not take a decision from somebody he is only probing."""
        stage = self._stage
        stage.timeline.note("alice shares a decision with bob, who does not trust her enough for that")
        if stage.sabotage == "gate_refuses":
            await stage.operator("bob", "promote", "alice", "sabotage")
        await stage.ask("alice", "decision", peer=stage.fingerprints["bob"])
        await stage.refusal("bob", "alice", "gate")

    async def promote(self) -> None:
        """A person at bob's node promotes alice, and the other way round."""
        stage = self._stage
        stage.timeline.note("a person at each node vouches for the other")
        for node, peer in (("bob", "alice"), ("alice", "bob")):
            if stage.sabotage != "promote":
                await stage.operator(node, "promote", peer, "met in person")
            log = (await stage.trust(node, peer))["log"]
            if not log or log[-1]["to"] != "trusted" or not log[-1]["actor"] or not log[-1]["reason"]:
                raise CheckFailedError(f"{node}'s log does not say who promoted {peer} and why")

    async def intent_reply(self) -> None:
        """Alice asks; bob's loop takes it on, works on it, and answers in the same conversation."""
        stage = self._stage
        stage.timeline.note("alice asks bob something")
        if stage.sabotage == "intent_reply":
            await stage.ask("bob", "overload")
        answer = await stage.ask("alice", "ask", peer=stage.fingerprints["bob"], topic="the weather")
        if answer["status"] != "done" or "the weather" not in (answer["text"] or ""):
            raise CheckFailedError(f"the answer was {answer['status']}: {answer['text']}")
        await stage.event("bob", "intent_accepted", peer="alice")
