"""The ledger once more, plainly: everything is worked out from all that was ever said, by loops over lists.

Written from the rules (KNOW-1 to KNOW-10), for facts; it knows nothing of the implementation, keeps no index, and looks
at every claim after each step until nothing changes any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

PENDING_MS = 24 * 3_600_000
DISPUTED_MS = 7 * PENDING_MS


@dataclass
class Said:
    """One vote, as it was said."""

    peer: str
    kind: str
    stamp: tuple[int, str]
    domains: tuple[str, ...] = ()


@dataclass
class Entry:
    """One claim."""

    statement: str
    number: int
    of: tuple[str, str, str] | None = None
    proposers: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    complete: list[bool] = field(default_factory=list)
    links: list[tuple[str, ...]] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    status: str = "pending"
    reason: str = ""
    since: int = 0
    ever: bool = False
    counted: list[str] = field(default_factory=list)
    on_confirmers: bool = False
    human: str | None = None
    verified: bool = False

    def standing(self) -> dict[str, Said]:
        best: dict[str, Said] = {}
        for one in self.said:
            if one.peer not in best or best[one.peer].stamp < one.stamp:
                best[one.peer] = one
        return best


class PlainLedger:
    """What a node makes of what it is told."""

    def __init__(self, node: str, *, mode: str = "strict") -> None:
        self.node = node
        self.mode = mode
        self.now = 0
        self.trust: dict[str, str] = {}
        self.introducer: dict[str, str | None] = {}
        self.overloaded = False
        self.entries: list[Entry] = []
        self.early: dict[tuple[str, str], tuple[Said, int]] = {}
        self.effects: list[tuple[str, str]] = []
        """What peers are to be told because of the last thing that was said: each hears one of its own."""
        self.charged: set[tuple[str, str]] = set()
        self._number = 0

    # --- what it is told --------------------------------------------------------------------------------

    def entry(self, statement: str) -> Entry | None:
        return next((one for one in self.entries if one.statement == statement), None)

    def propose(
        self,
        peer: str,
        statement: str,
        msg_id: str,
        *,
        of: tuple[str, str, str] | None,
        complete: bool,
        links: tuple[str, ...],
    ) -> None:
        if not self._admitted(peer):
            return
        entry = self.entry(statement)
        if entry is None:
            entry = Entry(statement, self._number, of)
            self.entries.append(entry)
            self._open(entry, peer, msg_id, complete, links)
        elif self._may_come_back(entry):
            if peer in entry.proposers:
                place = entry.proposers.index(peer)
                if entry.messages[place] == msg_id:
                    return
                for one in (entry.proposers, entry.messages, entry.complete, entry.links):
                    del one[place]
            self._open(entry, peer, msg_id, complete, links)
        elif peer not in entry.proposers:
            self._add(entry, len(entry.proposers), peer, msg_id, complete, links)
        elif complete and not entry.complete[entry.proposers.index(peer)]:
            place = entry.proposers.index(peer)
            entry.messages[place], entry.complete[place], entry.links[place] = msg_id, complete, links
        else:
            return
        self.charged.discard((peer, statement))
        if self._contradicted(entry):
            self.charged.add((peer, statement))
            if peer != self.node:
                self.effects.append((peer, "conflict"))
        for early in [one for one in self.early if one[0] == statement]:
            entry.said.append(self.early.pop(early)[0])
        self._settle()

    def vote(
        self, peer: str, kind: str, statement: str, stamp: tuple[int, str], domains: tuple[str, ...]
    ) -> None:
        if not self._admitted(peer):
            return
        said = Said(peer, kind, stamp, domains)
        entry = self.entry(statement)
        if entry is None:
            known = self.early.get((statement, peer))
            if known is None or known[0].stamp < stamp:
                self.early[statement, peer] = said, self.now
        else:
            entry.said.append(said)
        self._settle()

    def see(self, peer: str, state: str, introducer: str | None) -> None:
        self.trust[peer], self.introducer[peer] = state, introducer
        self._settle()

    def load(self, *, overloaded: bool) -> None:
        self.overloaded = overloaded
        self._settle()

    def decide(self, statement: str, decision: str) -> None:
        entry = self.entry(statement)
        if entry is not None:
            entry.human = decision
        self._settle()

    def wait(self, ms: int) -> None:
        self.now += ms
        self.early = {
            place: (said, at) for place, (said, at) in self.early.items() if self.now - at < PENDING_MS
        }
        self._settle()

    # --- the rules --------------------------------------------------------------------------------------

    def _admitted(self, peer: str) -> bool:
        return peer == self.node or self.trust.get(peer) in ("probing", "trusted")

    def _may_come_back(self, entry: Entry) -> bool:
        return entry.status == "rejected" and entry.reason in (
            "expired",
            "evicted",
            "unresolved",
            "untrusted_source",
        )

    def _open(self, entry: Entry, *proposal: Any) -> None:
        self._add(entry, 0, *proposal)
        entry.status, entry.reason, entry.since = "pending", "", self.now
        entry.number = self._number
        self._number += 1

    def _add(
        self, entry: Entry, place: int, peer: str, msg_id: str, complete: bool, links: tuple[str, ...]
    ) -> None:
        entry.proposers.insert(place, peer)
        entry.messages.insert(place, msg_id)
        entry.complete.insert(place, complete)
        entry.links.insert(place, links)

    def _weighs(self, peer: str) -> bool:
        return peer == self.node or self.trust.get(peer) == "trusted"

    def _contradicted(self, entry: Entry) -> bool:
        return any(
            other is not entry
            and other.status == "accepted"
            and other.of is not None
            and entry.of is not None
            and other.of[:2] == entry.of[:2]
            and other.of[2] != entry.of[2]
            for other in self.entries
        )

    def _confirmers(self, entry: Entry) -> list[Said]:
        return [
            one
            for one in entry.standing().values()
            if one.kind == "confirm"
            and one.peer != self.node
            and one.peer not in entry.proposers
            and self.trust.get(one.peer) == "trusted"
        ]

    def _independent(self, votes: list[Said]) -> int:
        """How many there are at most of which no two hang together: two, one or none."""
        if any(not self._tied(one, other) for one, other in combinations(votes, 2)):
            return 2
        return min(1, len(votes))

    def _tied(self, one: Said, other: Said) -> bool:
        return bool(self._line(one.peer) & self._line(other.peer) or set(one.domains) & set(other.domains))

    def _line(self, peer: str | None) -> set[str]:
        """A peer, who introduced it, who introduced that one, and so on."""
        line: set[str] = set()
        while peer is not None and peer not in line:
            line.add(peer)
            peer = self.introducer.get(peer)
        return line

    def _supported(self, entry: Entry) -> bool:
        for peer, complete, links in zip(entry.proposers, entry.complete, entry.links, strict=True):
            if complete and self.trust.get(peer) == "trusted":
                found = {
                    one.statement
                    for one in self.entries
                    if one.statement in links
                    and one is not entry
                    and one.status == "accepted"
                    and peer not in one.proposers
                }
                if len(found) >= 2:
                    return True
        return False

    def _verdict(self, entry: Entry) -> tuple[str, str]:
        standing = list(entry.standing().values())
        if entry.human is not None:
            return ("accepted", "") if entry.human == "accept" else ("rejected", "human")
        if not entry.ever and not any(self._admitted(peer) for peer in entry.proposers):
            return "rejected", "untrusted_source"
        against = [one for one in standing if one.kind != "confirm" and self._weighs(one.peer)]
        rejections = [one for one in against if one.kind == "reject"]
        confirmed = any(
            one.kind == "confirm" and self._weighs(one.peer) and one.peer not in entry.proposers
            for one in standing
        )
        if self._independent(rejections) >= 2 and not confirmed:
            return "rejected", "voted_down"
        if against or self._contradicted(entry):
            if not entry.ever and entry.status == "disputed" and self.now - entry.since >= DISPUTED_MS:
                return "rejected", "unresolved"
            if not against:
                return "disputed", "contradicted"
            return "disputed", "challenged" if len(rejections) < len(against) else "rejections"
        if entry.ever:
            if entry.on_confirmers and any(self.trust.get(peer) == "blacklisted" for peer in entry.counted):
                left = [
                    one
                    for one in standing
                    if one.kind == "confirm"
                    and (
                        (one.peer in entry.counted and self.trust.get(one.peer) != "blacklisted")
                        or one in self._confirmers(entry)
                    )
                ]
                if self._independent(left) < 2:
                    return "disputed", "confirmer_blacklisted"
            return "accepted", ""
        complete = any(
            complete and self._admitted(peer)
            for peer, complete in zip(entry.proposers, entry.complete, strict=True)
        )
        enough = self._independent(self._confirmers(entry)) >= 2 or (
            self.mode == "relaxed" and self._supported(entry)
        )
        if complete and enough:
            return ("pending", "load") if self.overloaded else ("accepted", "")
        if entry.status == "pending" and self.now - entry.since >= PENDING_MS:
            return "rejected", "expired"
        return "pending", ""

    def _settle(self) -> None:
        """Look at all claims, oldest first, until nothing changes any more."""
        changed = True
        while changed:
            changed = False
            for entry in sorted(self.entries, key=lambda one: one.number):
                if self._may_come_back(entry) and entry.human is None:
                    continue
                verdict = self._verdict(entry)
                if verdict != (entry.status, entry.reason):
                    self._become(entry, *verdict)
                    changed = True
                    break

    def _become(self, entry: Entry, status: str, reason: str) -> None:
        contradicted = self._contradicted(entry)
        if status != entry.status:
            entry.since = self.now
        entry.status, entry.reason = status, reason
        if status == "accepted":
            confirmers = self._confirmers(entry)
            enough = self._independent(confirmers) >= 2
            if not entry.ever or entry.human is not None:
                entry.counted = [one.peer for one in confirmers]
                entry.on_confirmers = entry.human is None and enough
                if enough and not entry.verified:
                    entry.verified = True
                    if entry.proposers[0] != self.node:
                        self.effects.append((entry.proposers[0], "knowledge_verified"))
            entry.ever = True
        if status == "rejected" and (reason == "voted_down" or (reason == "unresolved" and contradicted)):
            for peer in entry.proposers:
                if peer != self.node and (peer, entry.statement) not in self.charged:
                    self.effects.append((peer, "conflict"))
