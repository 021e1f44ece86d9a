"""Web claims once more, plainly: sources, corroborators and the learning gate, worked out from all that was ever said.

Written from the rules (KNOW-1 to KNOW-9, LIP-2 to LIP-5); it knows nothing of the implementation, keeps no index, and
looks at every claim after each step until nothing changes any more. No two claims contradict each other here: of two
that become acceptable at once, the one that is looked at first is, and the rules do not say which that is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

from tests.protocols.knowledge.plain_model import DISPUTED_MS, PENDING_MS

WORST_FIRST = ("blocked", "low", "unknown", "medium", "high")


@dataclass
class Word:
    """What somebody said for or against a claim, and the pages it was read on."""

    peer: str
    kind: str
    stamp: tuple[int, str]
    pages: tuple[str, ...] = ()
    body: str | None = None


@dataclass
class WebEntry:
    """One claim. A proposal of it is a `Word` like any other, and its order counts."""

    statement: str
    number: int
    proposals: list[Word] = field(default_factory=list)
    said: list[Word] = field(default_factory=list)
    status: str = "pending"
    reason: str = ""
    since: int = 0
    ever: bool = False
    basis: str = ""
    counted: list[str] = field(default_factory=list)
    credited: tuple[str, ...] = ()
    human: str | None = None
    verified: bool = False

    def standing(self) -> list[Word]:
        best: dict[str, Word] = {}
        for one in self.said:
            if one.peer not in best or best[one.peer].stamp < one.stamp:
                best[one.peer] = one
        return list(best.values())


class PlainWeb:
    """What a node makes of what it is told. `enough` is how many accepted claims make a source `high`."""

    def __init__(self, node: str, *, enough: int) -> None:
        self.node = node
        self.enough = enough
        self.now = 0
        self.learning = True
        self.trust: dict[str, str] = {}
        self.introducer: dict[str, str | None] = {}
        self.tiers: dict[str, str] = {}
        self.record: dict[str, list[int]] = {}
        self.entries: list[WebEntry] = []
        self.early: dict[tuple[str, str], tuple[Word, int]] = {}
        self.effects: list[tuple[str, str]] = []
        self._number = 0

    # --- what it is told --------------------------------------------------------------------------------

    def found(self, word: Word, statement: str) -> None:
        if not self._admitted(word.peer):
            return
        entry = next((one for one in self.entries if one.statement == statement), None)
        if entry is None:
            entry = WebEntry(statement, 0)
            self.entries.append(entry)
            self._open(entry, word)
        elif self._closed(entry):
            entry.proposals = [one for one in entry.proposals if one.peer != word.peer]
            self._open(entry, word)
        elif all(one.peer != word.peer for one in entry.proposals):
            entry.proposals.append(word)
        for place in [one for one in self.early if one[0] == statement]:
            entry.said.append(self.early.pop(place)[0])
        entry.said.append(word)
        self._settle()

    def vote(self, word: Word, statement: str) -> None:
        if not self._admitted(word.peer):
            return
        entry = next((one for one in self.entries if one.statement == statement), None)
        if entry is not None:
            entry.said.append(word)
        else:
            known = self.early.get((statement, word.peer))
            if known is None or known[0].stamp < word.stamp:
                self.early[statement, word.peer] = word, self.now
        self._settle()

    def see(self, peer: str, state: str, introducer: str | None) -> None:
        self.trust[peer], self.introducer[peer] = state, introducer
        self._settle()

    def load(self, presence: str, lri: int, *, kernel_overload: bool) -> None:
        self.learning = lri < 50 and presence in ("focused", "engaged") and not kernel_overload
        self._settle()

    def decide(self, statement: str, decision: str) -> None:
        for entry in self.entries:
            if entry.statement == statement:
                entry.human = decision
        self._settle()

    def set_tier(self, page: str, tier: str) -> None:
        self.tiers[page] = tier
        self._settle()

    def wait(self, ms: int) -> None:
        self.now += ms
        self.early = {one: (word, at) for one, (word, at) in self.early.items() if self.now - at < PENDING_MS}
        self._settle()

    # --- who counts -------------------------------------------------------------------------------------

    def _admitted(self, peer: str) -> bool:
        return peer == self.node or self.trust.get(peer) in ("probing", "trusted")

    def _weighs(self, peer: str) -> bool:
        return peer == self.node or self.trust.get(peer) == "trusted"

    def _closed(self, entry: WebEntry) -> bool:
        again = ("expired", "evicted", "unresolved", "untrusted_source")
        return entry.status == "rejected" and entry.reason in again

    def _open(self, entry: WebEntry, word: Word) -> None:
        entry.proposals.insert(0, word)
        entry.status, entry.reason, entry.since = "pending", "", self.now
        entry.number, self._number = self._number, self._number + 1

    def _corroborators(self, entry: WebEntry) -> list[Word]:
        return [
            one
            for one in entry.standing()
            if one.kind == "confirm"
            and one.body is not None
            and one.peer not in (self.node, entry.proposals[0].peer)
            and self.trust.get(one.peer) == "trusted"
        ]

    def _corroborated(self, entry: WebEntry) -> int:
        first = entry.proposals[0]
        apart = [
            one
            for one in self._corroborators(entry)
            if all(self._tier(page) != "blocked" for page in one.pages)
            and not set(one.pages) & set(first.pages)
            and one.body != first.body
        ]
        return self._independent(apart, 2)

    def _independent(self, words: list[Word], most: int) -> int:
        """Of how many at most no two hang together, up to `most`."""
        for number in range(most, 0, -1):
            for some in combinations(words, number):
                if not any(self._tied(one, other) for one, other in combinations(some, 2)):
                    return number
        return 0

    def _tied(self, one: Word, other: Word) -> bool:
        same_body = one.body is not None and one.body == other.body
        return bool(
            same_body or set(one.pages) & set(other.pages) or self._line(one.peer) & self._line(other.peer)
        )

    def _line(self, peer: str | None) -> set[str]:
        line: set[str] = set()
        while peer is not None and peer not in line:
            line.add(peer)
            peer = self.introducer.get(peer)
        return line

    # --- sources ----------------------------------------------------------------------------------------

    def _tier(self, page: str) -> str:
        return self.tiers.get(page, "unknown")

    def _brought(self, proposals: list[Word]) -> str:
        """The best of what proposals bring, each the worst of its pages."""
        worst = [min((self._tier(page) for page in one.pages), key=WORST_FIRST.index) for one in proposals]
        return max(worst, key=WORST_FIRST.index)

    def _supported(self, entry: WebEntry) -> bool:
        """A claim of a source that two other independent ones support makes it medium; whether one was moved."""
        words = [
            one for one in entry.standing() if one.kind == "confirm" and one.pages and self._weighs(one.peer)
        ]
        if self._independent(words, 3) < 3:
            return False
        new = {page for one in words for page in one.pages if self._tier(page) == "unknown"}
        self.tiers.update(dict.fromkeys(new, "medium"))
        return bool(new)

    def _credit(self, entry: WebEntry, was: str, *, ever: bool) -> None:
        """The record of the sources that the claim is of, and where that puts them."""
        for page in entry.credited:
            accepted, standing = self.record.setdefault(page, [0, 0])
            if was != "accepted" and entry.status == "accepted":
                accepted, standing = accepted + (not ever), standing + 1
            elif was == "accepted" and entry.status != "accepted":
                standing -= 1
            self.record[page] = [accepted, standing]
            good = accepted >= self.enough and standing * 100 >= accepted * 95
            if ever and entry.status == "rejected" and entry.reason in ("human", "voted_down"):
                self.tiers[page] = "blocked"
            elif self._tier(page) != "blocked" and good:
                self.tiers[page] = "high"
            elif self._tier(page) == "high":
                self.tiers[page] = "medium"

    # --- the rules --------------------------------------------------------------------------------------

    def _verdict(self, entry: WebEntry) -> tuple[str, str]:
        if entry.human is not None:
            return ("accepted", "") if entry.human == "accept" else ("rejected", "human")
        proposals = [one for one in entry.proposals if self._admitted(one.peer)]
        if not entry.ever:
            if not proposals:
                return "rejected", "untrusted_source"
            if self._brought(proposals) == "blocked":
                return "rejected", "blocked"
        standing = entry.standing()
        against = [one for one in standing if one.kind != "confirm" and self._weighs(one.peer)]
        rejections = [one for one in against if one.kind == "reject"]
        proposers = {one.peer for one in entry.proposals}
        confirmed = any(
            one.kind == "confirm" and self._weighs(one.peer) and one.peer not in proposers for one in standing
        )
        if self._independent(rejections, 2) == 2 and not confirmed:
            return "rejected", "voted_down"
        if against:
            if not entry.ever and entry.status == "disputed" and self.now - entry.since >= DISPUTED_MS:
                return "rejected", "unresolved"
            return "disputed", "challenged" if len(rejections) < len(against) else "rejections"
        if entry.ever:
            return self._kept(entry)
        if self._corroborated(entry) == 2 or self._brought(proposals) in ("medium", "high"):
            return ("accepted", "") if self.learning else ("pending", "load")
        if entry.status == "pending" and self.now - entry.since >= PENDING_MS:
            return "rejected", "expired"
        return "pending", ""

    def _kept(self, entry: WebEntry) -> tuple[str, str]:
        """KNOW-7: what takes an acceptance back though nobody speaks against it."""
        if self._brought(entry.proposals) == "blocked":
            return "disputed", "source_blocked"
        gone = {one for one in entry.counted if self.trust.get(one) == "blacklisted"}
        if entry.basis == "confirmers" and gone:
            left = [
                one
                for one in entry.standing()
                if one.kind == "confirm" and one.peer in set(entry.counted) - gone
            ]
            left += [one for one in self._corroborators(entry) if one not in left]
            if self._independent(left, 2) < 2:
                return "disputed", "confirmer_blacklisted"
        return "accepted", ""

    def _settle(self) -> None:
        """Look at all claims, oldest first, until nothing changes any more."""
        changed = True
        while changed:
            changed = False
            for entry in sorted(self.entries, key=lambda one: one.number):
                if self._closed(entry) and entry.human is None:
                    continue
                changed = self._supported(entry)
                verdict = self._verdict(entry)
                if verdict != (entry.status, entry.reason):
                    self._become(entry, *verdict)
                    changed = True
                if changed:
                    break

    def _become(self, entry: WebEntry, status: str, reason: str) -> None:
        was, ever = entry.status, entry.ever
        if status != was:
            entry.since = self.now
        entry.status, entry.reason = status, reason
        if status == "accepted" and (not ever or entry.human is not None):
            enough = self._corroborated(entry) == 2
            entry.basis = "human" if entry.human is not None else "confirmers" if enough else "tier"
            entry.counted = [
                one.peer
                for one in self._corroborators(entry)
                if all(self._tier(page) != "blocked" for page in one.pages)
            ]
            if enough and not entry.verified:
                entry.verified = True
                self._tell(entry.proposals[0].peer, "knowledge_verified")
        if status == "accepted" and not ever:
            entry.ever = True
            entry.credited = entry.proposals[0].pages if self._weighs(entry.proposals[0].peer) else ()
        if (status, reason) == ("rejected", "voted_down"):
            for one in entry.proposals:
                self._tell(one.peer, "conflict")
        self._credit(entry, was, ever=ever)

    def _tell(self, peer: str, what: str) -> None:
        if peer != self.node:
            self.effects.append((peer, what))
