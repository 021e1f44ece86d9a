"""A fact waits for somebody to decide; others cross a carrier that is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.demo.checks import CheckFailedError

if TYPE_CHECKING:
    from web4.demo.stage import Stage

CROSSING: Final = 10
"""Facts that are told while the carrier is cut."""


class Facts:
    """What alice tells bob."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._key = ""

    async def claim_pending(self) -> None:
        """One trusted peer's word is not enough: the claim waits."""
        stage = self._stage
        stage.timeline.note(
            "alice proposes a fact to bob: the word of one peer is not enough for him (KNOW-5)"
        )
        life = (await stage.ask("alice", "about"))["life"]
        statement = f"water boils at 100 °C at sea level, measurement {life}"
        said = statement.replace("100", "90") if stage.sabotage == "claim_pending" else statement
        own = await stage.ask(
            "alice", "propose", statement=said, domain="physics", to=[stage.fingerprints["bob"]]
        )
        heard = await stage.event("bob", "claim_pending", peer="alice", key=own["key"])
        claim = await stage.ask("bob", "claim", key=heard["payload"]["key"])
        if claim["status"] != "pending" or claim["statement"] != statement:
            raise CheckFailedError(f"bob holds it {claim['status']}: {claim['statement']!r}")
        self._key = own["key"]

    async def claim_deferred_then_accepted(self) -> None:
        """Bob's person knows better than the count of voices: it is decided in a human's name (KNOW-6a)."""
        stage = self._stage
        stage.timeline.note("bob's person has measured it too, and decides")
        decision = "reject" if stage.sabotage == stage.step else "accept"
        await stage.ask(
            "bob", "decide", key=self._key, decision=decision, human="hal", reason="measured it at home"
        )
        await stage.event("bob", "claim_accepted", key=self._key, rule="a")
        claim = await stage.ask("bob", "claim", key=self._key)
        if claim["status"] != "accepted":
            raise CheckFailedError(f"bob holds it {claim['status']}")

    async def resume(self) -> None:
        """The carrier is cut and stays away; what is said meanwhile arrives once, in the same session."""
        stage = self._stage
        stage.timeline.note(f"the wire between them is cut; alice proposes {CROSSING} facts all the same")
        life = (await stage.ask("alice", "about"))["life"]
        await stage.cut()
        statements = [f"the cut wire carried fact {number} of run {life}" for number in range(CROSSING)]
        sent = await stage.ask("alice", "facts", peer=stage.fingerprints["bob"], statements=statements)
        stage.timeline.note("the wire is whole again")
        stage.wire.down = stage.sabotage == "resume"
        for node, peer in (("alice", "bob"), ("bob", "alice")):
            await stage.event(node, "session_resume", peer=peer, session_id=stage.session)
        await stage.outbox_empty("alice", "bob")
        await stage.each_once("bob", "alice", sent["msg_ids"])
