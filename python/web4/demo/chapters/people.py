"""Two people behind the agents: one is asked before anything is done for them, one takes consent back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from web4.demo.checks import CheckFailedError

if TYPE_CHECKING:
    from web4.demo.stage import Stage

ENDLESS: Final = "garden/watering"
"""A topic on which an agent works until it is stopped."""
OF: Final = {"alice": "grace", "bob": "hal"}
"""Whose person is called what."""
QUEUED: Final = 3
AT_ONCE_MS: Final = 1_000
"""HCP-3."""


class People:
    """Grace at alice's, hal at bob's: scripted, but their words pass the same gates as anybody's."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def hcp_intent(self) -> None:
        """Grace wants something of hal, who is anxious: he is asked first, and says yes."""
        stage = self._stage
        stage.timeline.note("grace, alice's person, and hal, bob's, consent to be spoken to, and say hello")
        pairs = (("alice", "bob"), ("bob", "alice"))
        for node in OF:
            await stage.ask(node, "arrive", human=OF[node])
        for node, peer in pairs:
            await stage.ask(node, "greet", **self._between(node, peer))
        for node, peer in pairs:
            await stage.ask(node, "acquainted", **self._between(node, peer))
        stage.timeline.note("hal is anxious; grace wants something of him: people are asked before it is done")
        await stage.ask("bob", "feel", human="hal", affect="anxious")
        wanted = await self._want("alice", "bob", "garden/fence")
        if wanted["passage"] == "asked":  # alice knows already how hal is: grace is asked, too (HCP-1)
            await stage.ask("alice", "answer", human="grace", yes=True)
        about = {"peer": "alice", "msg_id": wanted["msg_id"]}
        await stage.event("bob", "gate_result", **about, result="CHECK_IN")
        await stage.event("bob", "check_in_asked", human="hal")
        answered = await stage.ask("bob", "answer", human="hal", yes=stage.sabotage != "hcp_intent")
        if answered["action"] != wanted["msg_id"]:
            raise CheckFailedError("hal was asked about something else")
        await stage.event("bob", "check_in_answered", human="hal", answer="yes")
        await stage.event("bob", "loop_state", peer="alice", lane="human:hal", to="thinking")
        await stage.ask("bob", "feel", human="hal", affect="calm")

    async def hcp_revoke(self) -> None:
        """Alice works for hal, and has messages for him; grace takes her consent back: all of it ends at once."""
        stage = self._stage
        stage.timeline.note("alice works for hal; bob is killed, and what grace has to say to hal waits for him")
        work = await self._want("bob", "alice", ENDLESS)
        await stage.event("alice", "loop_state", peer="bob", lane="human:grace", to="thinking")
        await stage.kill("bob")
        queued = [await self._want("alice", "bob", f"garden/gate {number}") for number in range(QUEUED)]
        if {one["passage"] for one in queued} != {"sent"}:
            raise CheckFailedError(f"what grace wants of hal is {queued[0]['passage']}, not queued")
        stage.timeline.note("grace takes her consent back")
        sabotage = stage.sabotage == "hcp_revoke"
        begun_ns = (await stage.ask("alice", "revoke", human="grace", sabotage=sabotage))["begun_ns"]
        stopped = await stage.event("alice", "task_cancelled", msg_id=work["msg_id"], reason="consent_revoked")
        purged = [
            await stage.event("alice", "envelope_concluded", msg_id=one["msg_id"], outcome="purged")
            for one in queued
        ]
        stop_ms = (stopped["mono_ns"] - begun_ns) / 1e6
        purge_ms = (max(one["mono_ns"] for one in purged) - begun_ns) / 1e6
        stage.timeline.note(
            f"by alice's clock: the work was over after {stop_ms:.1f} ms, the queue was purged after {purge_ms:.1f} ms"
        )
        if max(stop_ms, purge_ms) > AT_ONCE_MS:
            raise CheckFailedError(f"that took {max(stop_ms, purge_ms):.0f} ms")
        await stage.start("bob")
        await stage.event("bob", "handshake_completed", peer="alice")
        await stage.event("bob", "consent_changed", to="revoked")
        await stage.outbox_empty("alice", "bob")
        ids = [one["msg_id"] for one in queued]
        taken = await stage.ask("bob", "taken", peer=stage.fingerprints["alice"], msg_ids=ids)
        if any(taken["counts"].values()):
            raise CheckFailedError("something of it reached bob all the same")

    async def _want(self, node: str, peer: str, topic: str) -> dict[str, Any]:
        return await self._stage.ask(node, "want", **self._between(node, peer), topic=topic)

    def _between(self, node: str, peer: str) -> dict[str, str]:
        return {"human": OF[node], "peer": self._stage.fingerprints[peer], "other": OF[peer]}
