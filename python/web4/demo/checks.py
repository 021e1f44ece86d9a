"""The checks of the demo: what each claims, in the order in which the story reaches them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKS = {
    "wrong_key_refused": "a dial that expects another key ends before a frame is written",
    "rtt_open": "two processes open an encrypted session, each sees the other's fingerprint",
    "handshake": "both prove who they are in three messages, and hold each other as probing",
    "gate_refuses": "a DECISION_SHARE of a peer that is only probing is refused",
    "promote": "a named human promotes the peer, and the act is in the log",
    "intent_reply": "an INTENT is taken on by the other's loop, and answered in the same conversation",
    "garbage_refused": "plain bytes are refused and charged to their address",
    "tamper_refused": "an envelope altered after signing is refused",
    "replay_refused": "a HELLO that was used before is refused",
    "foreign_sender_refused": "a message that names another sender is refused, its session's peer blacklisted",
    "trust_unchanged": "after all of it the two agents trust each other as before",
    "claim_pending": "a fact that one trusted peer proposes waits: one voice is not enough",
    "claim_deferred_then_accepted": "the claim that waited is accepted by a person, in that person's name",
    "resume": "the carrier is cut; what is said meanwhile arrives once, in the same session",
    "lip_fetch": "a peer reads a page for another, as it was served, from a server that its configuration allows",
    "fetch_refused": "what robots.txt keeps, and a private address, are refused: nobody was asked for either",
    "extension_called": "a tool of an extension that a person has enabled answers, out of a process of its own",
    "hang_killed": "a call that hangs is killed at its deadline with all its processes, and none survives",
    "served_after_kill": "the next call of the same extension is served, by another worker",
    "hcp_intent": "what one person wants of another begins only after that one was asked, and said yes",
    "hcp_revoke": "consent taken back ends the work and purges the queue, within a second",
    "remembered": "killed and started again, bob knows whom he trusts; so does the next run with --keep",
    "crash_outbox": "the receiver is killed while envelopes are queued; each of them arrives once",
    "journals_verify": "every chain of both journals holds, and replay comes to what lives",
}

Status = Literal["passed", "failed", "not_reached"]


class Result(msgspec.Struct, frozen=True):
    """What became of one check."""

    name: str
    status: Status
    detail: str


class CheckFailedError(Exception):
    """A check saw something else than it claims."""


class Checks:
    """Keeps the result of every check, reached or not. `claims` are theirs, in the order of the story."""

    def __init__(self, claims: Mapping[str, str]) -> None:
        self._claims = claims
        self._results = {name: Result(name, "not_reached", claim) for name, claim in claims.items()}

    def passed(self, name: str) -> None:
        """The check saw what it claims."""
        self._results[name] = Result(name, "passed", self._claims[name])

    def failed(self, name: str, why: str) -> None:
        """The check saw something else."""
        self._results[name] = Result(name, "failed", why)

    @property
    def results(self) -> list[Result]:
        """All of them, in the order of the story."""
        return list(self._results.values())

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(result.status == "passed" for result in self._results.values())
