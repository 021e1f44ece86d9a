"""Section 9 written a second time, as plainly as it goes: if and else over a few fields, no table, no events."""

from __future__ import annotations

from tests.trust.examples import NOW

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


class PlainTrust:
    """What a node holds of one peer. Each method gives the code that it refuses with, or None."""

    def __init__(self) -> None:
        self.state = "unknown"
        self.events = 0
        self.now = NOW
        self.newest = 0
        self.cooldown_until = 0
        self.cooldown = 0
        self.demoted_at: int | None = None
        self.doubtful: list[int] = []
        self.grave = 0
        self.revoked = False
        self.handshaken = False
        self.introducer: str | None = None

    def clock(self, now: int) -> None:
        """It is `now`."""
        self.now = now

    def cooldown_left_ms(self) -> int:
        """How long a handshake does not count; never more than twice the cooldown, whatever the clock does."""
        left = self.cooldown_until - self.now
        if self.state != "untrusted" or left <= 0 or left > 2 * (self.cooldown or MINUTE):
            return 0
        return left

    # --- what happens to everybody ----------------------------------------------------------------------

    def _time(self) -> int:
        """The time of an event: never before the one before it."""
        self.newest = max(self.newest, self.now)
        return self.newest

    def _count(self) -> None:
        if self.state != "unknown":
            self._time()
            self.events += 1

    def _go(self, to: str) -> None:
        self._time()
        self.events += 1
        self.state = to
        if to == "trusted":
            self.cooldown, self.demoted_at = 0, None
        if to != "untrusted":
            self.cooldown_until = 0
        if to != "blacklisted":
            self.revoked = False

    def _fall(self) -> None:
        """To untrusted, for twice as long as the last time (TRUST-3)."""
        at = self._time()
        peace = self.demoted_at is None or at - self.demoted_at >= DAY
        self.cooldown = MINUTE if peace or not self.cooldown else min(self.cooldown * 2, HOUR)
        self.demoted_at = at
        self._go("untrusted")
        self.cooldown_until = self.now + self.cooldown

    def _step_down(self) -> None:
        if self.state == "trusted":
            self._go("probing")
        elif self.state == "probing":
            self._fall()
        else:
            self._count()

    def _condemn(self) -> None:
        if self.state == "blacklisted":
            self._count()
        else:
            self._go("blacklisted")

    # --- the fourteen events ----------------------------------------------------------------------------

    def handshake(self, allowed: bool) -> str | None:
        if self.state == "unknown" and not allowed:
            return "newcomer_limit"
        if self.cooldown_left_ms():
            self._count()
            return None
        if self.state in {"unknown", "untrusted"}:
            self._go("probing")
        else:
            self._count()
        self.handshaken = True
        return None

    def introduced(self, by: str, held: str, allowed: bool) -> str | None:
        if held != "trusted":
            return "introducer_not_trusted"
        if self.state != "unknown":
            self._count()
            return None
        if not allowed:
            return "newcomer_limit"
        self._go("probing")
        self.introducer = by
        return None

    def introducer_lost(self, by: str) -> None:
        if self.state == "probing" and not self.handshaken and self.introducer in {None, by}:
            self._go("untrusted")
        else:
            self._count()

    def knowledge_verified(self, key: str) -> str | None:
        if not key:
            return "evidence_required"
        self._rise()
        return None

    def local_alignment(self, keys: tuple[str, ...]) -> str | None:
        if len(set(keys)) < 2:
            return "evidence_required"
        self._rise()
        return None

    def _rise(self) -> None:
        if self.state == "probing":
            self._go("trusted")
        else:
            self._count()

    def unverifiable(self) -> None:
        if self.state == "unknown":
            return
        at = self.now
        self.doubtful = [then for then in self.doubtful if abs(at - then) <= 10 * MINUTE] + [at]
        if len(self.doubtful) < 3:
            self._count()
            return
        self.doubtful = []
        self._step_down()

    def conflict(self, confidence: float, confirmers: int, cites: bool) -> None:
        if self.state == "unknown":
            return
        if confidence >= 0.9 and confirmers >= 2:
            self.grave += 1
            if self.grave >= 3 and cites:
                if self.state in {"probing", "trusted"}:
                    self._condemn()
                else:
                    self._count()
                return
        self._step_down()

    def auth_failure(self, session: str) -> str | None:
        if not session:
            return "session_required"
        if self.state in {"probing", "trusted"}:
            self._fall()
        elif self.state == "untrusted":
            at = self._time()
            if self.demoted_at is None or at - self.demoted_at >= DAY:
                self.cooldown_until = self.now + MINUTE
            else:
                self.cooldown_until = self.now + (self.cooldown or MINUTE)
            self._count()
        else:
            self._count()
        return None

    def malicious_evidence(self, cites: bool, allowed: bool) -> str | None:
        if not cites:
            return "evidence_required"
        if self.state == "unknown" and not allowed:
            return "newcomer_limit"
        self._condemn()
        return None

    def anchored(self) -> None:
        self.introducer = None
        if self.state in {"unknown", "untrusted", "probing"}:
            self._go("trusted")
        else:
            self._count()

    def promote(self, human: str, reason: str) -> str | None:
        missing = _missing(human, reason)
        if missing:
            return missing
        self.introducer = None
        if self.state in {"unknown", "untrusted"}:
            self._go("probing")
        elif self.state == "probing":
            self._go("trusted")
        else:
            self._count()
        return None

    def block(self, human: str, reason: str) -> str | None:
        missing = _missing(human, reason)
        if missing:
            return missing
        self._condemn()
        self.revoked = True
        return None

    def override(self, human: str, reason: str) -> str | None:
        missing = _missing(human, reason)
        if missing:
            return missing
        if self.state == "blacklisted":
            self._go("probing")
        else:
            self._count()
        return None


def _missing(human: str, reason: str) -> str | None:
    if not human.strip():
        return "human_required"
    return None if reason.strip() else "reason_required"
