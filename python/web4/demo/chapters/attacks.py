"""A third process with a sound key of its own tries to spoil it. Whether it was refused is for its victim to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from web4.demo.checks import CheckFailedError

if TYPE_CHECKING:
    from web4.demo.stage import Stage

_PAIRS = (("alice", "bob"), ("bob", "alice"))


class Attacks:
    """What mallory tries, and that it changes nothing between the two."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._logs: dict[str, list[dict[str, Any]]] = {}

    async def garbage_refused(self) -> None:
        """Plain bytes at bob's door."""
        stage = self._stage
        self._logs = {node: (await stage.trust(node, peer))["log"] for node, peer in _PAIRS}
        stage.timeline.note(
            "mallory, a third process with a sound key of its own, tries four things with bob"
        )
        target = "mallory" if stage.sabotage == "garbage_refused" else "bob"
        await stage.ask("mallory", "garbage", url=stage.urls[target])
        refused = await stage.event("bob", "carrier_failed")
        if refused.get("peer") is not None:
            raise CheckFailedError("bytes without a key were charged to a fingerprint")
        stage.expect(refused, "unreachable", "damaged")

    async def tamper_refused(self) -> None:
        """An INTENT with another topic than the one that was signed."""
        await self._attack("tamper")
        await self._stage.refusal("bob", "mallory", "signature")

    async def replay_refused(self) -> None:
        """A HELLO whose nonce bob has seen."""
        await self._attack("replay")
        await self._stage.refusal("bob", "mallory", "nonce_replayed")

    async def foreign_sender_refused(self) -> None:
        """A message in mallory's session that says it is alice's."""
        stage = self._stage
        await self._attack("foreign_sender", **{"as": stage.fingerprints["alice"], "as_name": "alice"})
        await stage.refusal("bob", "mallory", "identity")
        await stage.event("bob", "trust_transition", peer="mallory", to="blacklisted")
        if (await stage.trust("bob", "mallory"))["state"] != "blacklisted":
            raise CheckFailedError("bob still listens to mallory")

    async def trust_unchanged(self) -> None:
        """Nothing of that moved what alice and bob think of each other."""
        stage = self._stage
        if stage.sabotage == "trust_unchanged":
            await stage.operator("bob", "block", "alice", "sabotage")
        for node, peer in _PAIRS:
            trust = await stage.trust(node, peer)
            if trust["state"] != "trusted" or trust["log"] != self._logs[node]:
                raise CheckFailedError(f"{node} holds {peer} {trust['state']}, with another log than before")

    async def _attack(self, do: str, **arguments: Any) -> None:
        stage = self._stage
        sabotage = stage.sabotage == f"{do}_refused"
        victim = {"url": stage.urls["bob"], "peer": stage.fingerprints["bob"]}
        await stage.ask("mallory", do, sabotage=sabotage, **victim, **arguments)
