"""Two people behind the agents: what one wants of the other is asked before it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from web4.demo.checks import CheckFailedError

if TYPE_CHECKING:
    from web4.demo.stage import Stage

ENDLESS: Final = "garden/watering"
"""A topic on which an agent works until it is stopped."""
OF: Final = {"alice": "grace", "bob": "hal"}
"""Whose person is called what."""


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
        stage.timeline.note(
            "hal is anxious; grace wants something of him: people are asked before it is done"
        )
        await stage.ask("bob", "feel", human="hal", affect="anxious")
        wanted = await self.want("alice", "bob", "garden/fence")
        if wanted["passage"] == "asked":  # alice knows already how hal is: grace is asked, too (HCP-1)
            await stage.ask("alice", "answer", human="grace", yes=True)
        about = {"peer": "alice", "msg_id": wanted["msg_id"]}
        await stage.event("bob", "gate_result", **about, result="CHECK_IN", patient=True)
        await stage.event("bob", "check_in_asked", human="hal", patient=True)
        answered = await stage.ask("bob", "answer", human="hal", yes=stage.sabotage != "hcp_intent")
        if answered["action"] != wanted["msg_id"]:
            raise CheckFailedError("hal was asked about something else")
        await stage.event("bob", "check_in_answered", human="hal", answer="yes")
        await stage.event("bob", "loop_state", **about, state="thinking")
        await stage.ask("bob", "feel", human="hal", affect="calm")

    async def want(self, node: str, peer: str, topic: str) -> dict[str, Any]:
        """Let a node's person want something of a peer's."""
        return await self._stage.ask(node, "want", **self._between(node, peer), topic=topic)

    def _between(self, node: str, peer: str) -> dict[str, str]:
        return {"human": OF[node], "peer": self._stage.fingerprints[peer], "other": OF[peer]}
