"""Bob is killed, more than once: what was promised arrives, what was known is known, and the journals prove it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

import trio

from web4.demo.checks import CheckFailedError

if TYPE_CHECKING:
    from web4.demo.stage import Stage

_PAIRS: Final = (("alice", "bob"), ("bob", "alice"))
FIRST, REST = 5, 25
"""Facts that are told before bob is killed, and after."""


class Crashes:
    """What survives them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def recall(self) -> None:
        """See that what an earlier run left is known before anybody dials; then let people take it back.

        Agents that trust each other from the start could not show how trust begins.
        """
        stage = self._stage
        found = {
            node: await stage.ask(node, "remembers", peer=stage.fingerprints[peer]) for node, peer in _PAIRS
        }
        for node, peer in _PAIRS:
            stage.before[node] = live = found[node]["live"]
            if live != found[node]["trust"]:
                raise CheckFailedError(f"{node} holds {peer} {live}; the journal says {found[node]['trust']}")
            if live == "unknown":
                continue
            stage.timeline.note(f"{node} knows {peer} from an earlier run; a person takes that back for this one")
            if live != "blacklisted":
                await stage.operator(node, "block", peer, "the story begins again")
            await stage.operator(node, "forgive", peer, "the story begins again")
            stage.before[node] = "probing"

    async def crash_outbox(self) -> None:
        """Killed while envelopes come in and more are queued; started again, bob gets each of them once."""
        stage = self._stage
        stage.timeline.note(f"alice proposes {FIRST + REST} facts to bob, who is killed in the midst of it")
        life = (await stage.ask("alice", "about"))["life"]
        said = [f"bob survived crash number {number} of run {life}" for number in range(FIRST + REST)]
        to = stage.fingerprints["bob"]
        before = await stage.ask("alice", "facts", peer=to, statements=said[:FIRST])
        await stage.event("bob", "claim_pending", peer="alice", msg_id=before["msg_ids"][0])
        await stage.kill("bob")
        after = await stage.ask("alice", "facts", peer=to, statements=said[FIRST:])
        waiting = (await stage.ask("alice", "outbox", peer=to))["waiting"]
        if waiting < REST:
            raise CheckFailedError(f"only {waiting} envelopes are queued")
        stage.timeline.note(f"{waiting} envelopes wait in alice's outbox; bob is started again on his journal")
        if stage.sabotage == "crash_outbox":
            await stage.ask("alice", "drop", peer=to)
        await stage.start("bob")
        await stage.event("bob", "handshake_completed", peer="alice")
        await stage.outbox_empty("alice", "bob")
        await stage.each_once("bob", "alice", [*before["msg_ids"], *after["msg_ids"]])

    async def remembered(self) -> None:
        """Killed once more and kept from everybody, bob is who he was, byte for byte."""
        stage = self._stage
        stage.timeline.note("bob is killed, and started again on his journal, with the wire cut")
        alice = stage.fingerprints["alice"]
        await stage.until("bob", "waiting", lambda told: told["waiting"] == 0)
        stage.wire.down = True
        stage.wire.cut()
        await stage.event("bob", "session_suspend", peer="alice")
        before = await stage.ask("bob", "lane", peer=alice)
        await stage.kill("bob")
        await stage.start("bob", elsewhere=stage.sabotage == "remembered")
        again = await stage.ask("bob", "remembers", peer=alice)
        if again["live"] != "trusted" or again.get("human") != "bob's person":
            raise CheckFailedError(f"bob holds alice {again['live']} after a restart")
        if (again["digest"], again["records"]) != (before["digest"], before["records"]):
            raise CheckFailedError("bob's lane of alice is not what it was before he was killed")
        of_mallory = await stage.ask("bob", "remembers", peer=stage.fingerprints["mallory"])
        if of_mallory["live"] != "blacklisted":
            raise CheckFailedError(f"bob holds mallory {of_mallory['live']} after a restart")
        stage.wire.down = False
        await stage.event("bob", "handshake_completed", peer="alice")

    async def journals_verify(self) -> None:
        """Both journals, whole: every chain holds, and replay comes to what lives in the two processes."""
        stage = self._stage
        stage.timeline.note("both journals are verified and replayed, and compared with what lives")
        if stage.sabotage == "journals_verify":
            await trio.to_thread.run_sync(self._spoil)
        for node in ("alice", "bob"):
            proof = await stage.ask(node, "prove")
            if proof["findings"]:
                raise CheckFailedError(f"{node}'s journal does not hold: {proof['findings'][0]}")
            if proof["differs"]:
                raise CheckFailedError(f"{node}'s replay is not what lives: {', '.join(proof['differs'])}")

    def _spoil(self) -> None:
        """Change one byte of one record, as a bad disk or a bad person does."""
        database = self._stage.path_of("bob") / "journal" / "journal.db"
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute(
                "UPDATE record SET payload = CAST(X'20' || substr(payload, 2) AS BLOB) WHERE position = "
                "(SELECT max(position) FROM record WHERE payload IS NOT NULL)"
            )
