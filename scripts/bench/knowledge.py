"""What one message costs a ledger that is full: 10 000 claims with 10 votes each, a tenth of them open.

Run `python -m scripts.bench.knowledge`; `--json` prints one object instead of the table. `--claims` and `--votes` make
it smaller or larger.

Timed is the lane's pure logic, as its writer calls it: `decide`, then `apply` of each event. No journal, no network;
times are those of the processor. `vote` is one that changes nothing but the count, `accepting` the one by which a claim
is accepted, `doubt` the challenge that disputes an accepted claim, `trust` the rise of a peer that voted on every
claim, by which the open ones are accepted: the first decision, the longest, and all until nothing is left to look at.
`state` is writing and reading the whole state.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import TYPE_CHECKING, Any

from scripts.bench.machine import machine
from web4.foundation.digest import blake3_hex
from web4.protocols.knowledge import commands
from web4.protocols.knowledge.form import decode_state, encode_state
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.ledger.claims import Cited
from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
from web4.protocols.knowledge.logic import KnowledgeLogic

if TYPE_CHECKING:
    from web4.protocols.knowledge.commands import KnowledgeCommand
    from web4.protocols.knowledge.ledger.claims import VoteKind
    from web4.protocols.knowledge.logic import KnowledgeReply
    from web4.trust import TrustState

START_MS = 1_800_000_000_000
MEASURED = 300
"""Messages of each kind that are timed."""


class Ledger:
    """The logic of lane `knowledge`, and its state."""

    def __init__(self, claims: int) -> None:
        limits = KnowledgeLimits(open_claims=claims, open_per_peer=claims)
        self.logic = KnowledgeLogic(_name("node"), limits=limits)
        self.state = self.logic.initial
        self._number = 0

    def tell(self, command: KnowledgeCommand) -> KnowledgeReply:
        """Decide a command, and apply what it leads to."""
        decision = self.logic.decide(self.state, command)
        state = self.state
        for event in decision.events:
            state = self.logic.apply(state, event)
        self.state = state
        return decision.reply

    def next_id(self) -> str:
        """An id that was not given before."""
        self._number += 1
        return f"{self._number:08x}-0000-4000-8000-000000000000"

    def see(self, peer: str, state: TrustState) -> KnowledgeReply:
        """Say how far a peer is trusted."""
        return self.tell(
            commands.TrustSeen(at_ms=START_MS, cause=self.next_id(), peer=_name(peer), state=state)
        )

    def propose(self, number: int) -> None:
        """Let the proposer propose a claim."""
        statement = f"statement {number}"
        stated = commands.Stated(key=claim_key("bench", statement), domain="bench", statement=statement)
        msg_id = self.next_id()
        self.tell(
            commands.Propose(
                at_ms=START_MS,
                cause=msg_id,
                peer=_name("proposer"),
                msg_id=msg_id,
                route="cip",
                sent_ms=START_MS,
                claims=(stated,),
            )
        )

    def vote(self, peer: str, number: int, kind: VoteKind = "confirm") -> commands.CastVote:
        """What a peer says of a claim."""
        msg_id = self.next_id()
        return commands.CastVote(
            at_ms=START_MS,
            cause=msg_id,
            refs=(claim_key("bench", f"statement {number}"),),
            peer=_name(peer),
            kind=kind,
            route="cip",
            msg_id=msg_id,
            sent_ms=START_MS + self._number,
            cited=Cited(pieces=1),
        )

    def look_on(self) -> KnowledgeReply:
        """Go on with what is marked."""
        return self.tell(commands.Tick(at_ms=START_MS, cause=self.next_id()))


def _name(peer: str) -> str:
    return blake3_hex(peer.encode())


def _filled(claims: int, votes: int) -> Ledger:
    """Nine of ten claims are accepted; of the others one more vote with weight decides."""
    ledger = Ledger(claims)
    ledger.see("proposer", "probing")
    for peer in ("trusted", "second", "another", "third"):
        ledger.see(peer, "trusted")
    for number in range(votes):
        ledger.see(f"voter {number}", "probing")
    for number in range(claims):
        ledger.propose(number)
        ledger.tell(ledger.vote("trusted", number))
        for voter in range(votes - 2):
            ledger.tell(ledger.vote(f"voter {voter}", number))
        ledger.tell(ledger.vote("second" if _is_accepted(number) else "voter 0", number))
    return ledger


def _is_accepted(number: int) -> bool:
    return number % 10 != 0


def _timed(ledger: Ledger, told: list[commands.CastVote]) -> dict[str, float]:
    """Microseconds of each of these messages."""
    took = []
    for command in told:
        begun = time.thread_time_ns()
        ledger.tell(command)
        took.append((time.thread_time_ns() - begun) / 1_000)
    took.sort()
    return {"p50_us": round(statistics.median(took), 1), "p99_us": round(took[len(took) * 99 // 100], 1)}


def _trust(ledger: Ledger, peer: str) -> dict[str, float]:
    """A change of trust that concerns every claim: its first decision, and all of it."""
    begun = time.thread_time_ns()
    reply = ledger.see(peer, "trusted")
    first, longest, decisions = time.thread_time_ns() - begun, 0, 1
    while reply.more:
        one = time.thread_time_ns()
        reply = ledger.look_on()
        longest = max(longest, time.thread_time_ns() - one)
        decisions += 1
    whole = time.thread_time_ns() - begun
    return {
        "first_ms": round(first / 1e6, 1),
        "longest_ms": round(longest / 1e6, 1),
        "all_ms": round(whole / 1e6, 1),
        "decisions": decisions,
    }


def measure(claims: int, votes: int) -> dict[str, Any]:
    """All figures."""
    begun = time.thread_time()
    ledger = _filled(claims, votes)
    filled = time.thread_time() - begun
    decided = [one for one in range(claims) if _is_accepted(one)][:MEASURED]
    still_open = [one for one in range(claims) if not _is_accepted(one)][: min(MEASURED, claims // 20 + 1)]
    figures: dict[str, Any] = {
        "claims": len(ledger.state.ledger.claims),
        "votes": sum(len(one.votes) for one in ledger.state.ledger.claims.values()),
        "fill_messages_per_second": round(claims * (votes + 1) / filled),
        "vote": _timed(ledger, [ledger.vote("voter 0", one) for one in decided]),
        "accepting": _timed(ledger, [ledger.vote("another", one) for one in still_open]),
        "doubt": _timed(ledger, [ledger.vote("third", one, "challenge") for one in decided]),
        "trust": _trust(ledger, "voter 1"),
    }
    begun_ns = time.thread_time_ns()
    data = encode_state(ledger.state)
    written = time.thread_time_ns()
    same = encode_state(decode_state(data)) == data
    figures["state"] = {
        "bytes": len(data),
        "write_ms": round((written - begun_ns) / 1e6, 1),
        "read_and_write_ms": round((time.thread_time_ns() - written) / 1e6, 1),
        "same": same,
    }
    return figures


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.knowledge", description=__doc__)
    parser.add_argument("--claims", type=int, default=10_000)
    parser.add_argument("--votes", type=int, default=10, help="per claim")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = {"machine": machine(), **measure(max(8, asked.claims), max(2, asked.votes))}
    if asked.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        shown = ", ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, dict) else value
        print(f"{name:26} {shown}")


if __name__ == "__main__":
    main()
