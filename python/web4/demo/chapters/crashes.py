"""Bob is killed: consent is taken back without him; then what was known is known, and what was promised arrives."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

import trio

from web4.demo.chapters.people import ENDLESS
from web4.demo.checks import CheckFailedError

if TYPE_CHECKING:
    from web4.demo.chapters.people import People
    from web4.demo.stage import Stage

_PAIRS: Final = (("alice", "bob"), ("bob", "alice"))
FIRST, REST = 5, 25
"""Facts that are told before bob is killed, and after."""
QUEUED: Final = 3
"""Messages of a person that wait when consent is taken back."""
AT_ONCE_MS: Final = 1_000
"""HCP-3."""


class Crashes:
    """What survives them."""

    def __init__(self, stage: Stage, people: People) -> None:
        self._stage = stage
        self._people = people
        self._promised: list[str] = []
        self._purged: list[str] = []

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
            stage.timeline.note(
                f"{node} knows {peer} from an earlier run; a person takes that back for this one"
            )
            if live != "blacklisted":
                await stage.operator(node, "block", peer, "the story begins again")
            await stage.operator(node, "forgive", peer, "the story begins again")
            stage.before[node] = "probing"

    async def hcp_revoke(self) -> None:
        """Bob is killed; grace has messages waiting for hal, and work done for him. She takes back her consent."""
        stage = self._stage
        stage.timeline.note(
            f"alice works for hal; she proposes {FIRST + REST} facts to bob, who is killed in the midst of it"
        )
        work = await self._people.want("bob", "alice", ENDLESS)
        await stage.event(
            "alice", "loop_state", peer="bob", msg_id=work["msg_id"], state="thinking", patient=True
        )
        await self._propose_and_kill()
        queued = [
            await self._people.want("alice", "bob", f"garden/gate/{number}") for number in range(QUEUED)
        ]
        if {one["passage"] for one in queued} != {"sent"}:
            raise CheckFailedError(f"what grace wants of hal is {queued[0]['passage']}, not queued")
        stage.timeline.note(
            "grace, who has more to say to hal as soon as bob is there, takes her consent back"
        )
        sabotage = stage.sabotage == "hcp_revoke"
        begun_ns = (await stage.ask("alice", "revoke", human="grace", sabotage=sabotage))["begun_ns"]
        stopped = await stage.event(
            "alice", "task_cancelled", msg_id=work["msg_id"], reason="consent_revoked"
        )
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
        self._purged = [one["msg_id"] for one in queued]

    async def _propose_and_kill(self) -> None:
        """Propose facts; kill bob when the first has come to him and others are on their way; propose more."""
        stage = self._stage
        life = (await stage.ask("alice", "about"))["life"]
        said = [f"bob survived crash number {number} of run {life}" for number in range(FIRST + REST)]
        to = stage.fingerprints["bob"]
        before = await stage.ask("alice", "facts", peer=to, statements=said[:FIRST])
        await stage.event("bob", "claim_pending", peer="alice", msg_id=before["msg_ids"][0], patient=True)
        stage.wire.down = True
        await stage.kill("bob")
        after = await stage.ask("alice", "facts", peer=to, statements=said[FIRST:])
        self._promised = [*before["msg_ids"], *after["msg_ids"]]

    async def remembered(self) -> None:
        """Started again on his journal, before anybody reaches him, bob is who he was."""
        stage = self._stage
        stage.timeline.note("bob is started again on his journal; nobody reaches him yet")
        await stage.start("bob", elsewhere=stage.sabotage == "remembered")
        of_alice = await stage.ask("bob", "remembers", peer=stage.fingerprints["alice"])
        if of_alice["live"] != "trusted" or of_alice.get("human") != "bob's person":
            raise CheckFailedError(f"bob holds alice {of_alice['live']} after a restart")
        of_mallory = await stage.ask("bob", "remembers", peer=stage.fingerprints["mallory"])
        if of_mallory["live"] != "blacklisted":
            raise CheckFailedError(f"bob holds mallory {of_mallory['live']} after a restart")

    async def crash_outbox(self) -> None:
        """The wire is whole again: bob gets everything that alice promised once, and nothing that grace took back."""
        stage = self._stage
        to = stage.fingerprints["bob"]
        waiting = (await stage.ask("alice", "outbox", peer=to))["waiting"]
        if waiting < REST:
            raise CheckFailedError(f"only {waiting} envelopes are queued")
        stage.timeline.note(f"{waiting} envelopes wait in alice's outbox; the wire is whole again")
        if stage.sabotage == "crash_outbox":
            await stage.ask("alice", "drop", peer=to)
        stage.wire.down = False
        await stage.event("bob", "handshake_completed", peer="alice", patient=True)
        await stage.outbox_empty("alice", "bob")
        await stage.each_once("bob", "alice", self._promised)
        await stage.event("bob", "consent_changed", peer="alice", state="revoked", patient=True)
        counts = (await stage.ask("bob", "taken", peer=stage.fingerprints["alice"], msg_ids=self._purged))[
            "counts"
        ]
        if any(counts.values()):
            raise CheckFailedError("bob got something that grace had taken back")
        stage.timeline.note(
            f"bob's journal has each of {len(self._promised)} once, and none of the {len(counts)} that were taken back"
        )

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
