"""What an endpoint has done and holds, as plain values (RTT-59): `endpoint.metrics()`.

Nothing is counted twice and little in Python: messages, frames and latencies are counted by the native sessions and
added up when somebody asks. Sessions that have ended are kept as sums.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

import msgspec

from web4._core import Meter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from web4.rtt.errors import RttError
    from web4.rtt.session import RttSession

MAX_PEERS = 1024
"""Peers that have metrics of their own. Those that were quiet for longest are left out; the total counts all."""


class Histogram(msgspec.Struct, frozen=True):
    """Durations in seconds. A quantile is the middle of its bucket: off by at most 1/64 from 1 us to 69 s."""

    count: int
    sum: float
    p50: float | None
    p95: float | None
    p99: float | None
    buckets: tuple[tuple[float, float, int], ...]
    """The buckets in use: from, to, and how many fell into it. Equal bounds in every histogram, so sums make sense."""


class KindMetrics(msgspec.Struct, frozen=True):
    """Channels of one kind. Frames are those that carry messages."""

    frames_sent: int
    frames_received: int
    messages_sent: int
    messages_received: int
    bytes_sent: int
    bytes_received: int
    messages_lost: int
    """Accepted and not acknowledged when their channel or session ended."""
    dropped_oldest: int
    dropped_newest: int
    blocked: int
    """Messages that had to wait for room in the send queue."""
    overflows: int
    """Sends that found the send queue full."""
    queued: int
    queued_bytes: int
    unread: int
    unread_bytes: int


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """The totals of an endpoint, or of one peer.

    `sessions`, `resend_bytes`, `queued` and `unread` tell of now, all else of the time since the endpoint opened.
    """

    sessions: dict[str, int]
    """By state."""
    sessions_closed: dict[str, int]
    """By reason."""
    sessions_lost: int
    messages_lost: int
    """Listed by a `SessionLost` or close report."""
    carriers_opened: int
    carriers_failed: dict[str, int]
    """By code; those of authentication included."""
    authentication_failures: dict[str, int]
    """By code."""
    resumes_asked: int
    resumes_granted: int
    """By this side, as acceptor."""
    resumes_refused: dict[str, int]
    """By code; by this side or by the peer."""
    reconnects: int
    """Carriers on which a session went on."""
    key_updates: int
    frames_sent: int
    frames_received: int
    frames_resent: int
    frames_replayed: int
    """Had arrived before, and were dropped."""
    frames_skipped: int
    """Optional, and of a type unknown here."""
    resend_bytes: int
    kinds: dict[str, KindMetrics]
    limits: dict[str, int]
    """How often each limit was hit, by its name."""
    heartbeat: Histogram
    """From PING to PONG."""
    acknowledgement: Histogram
    """From writing a frame to its acknowledgement, one frame at a time: the first after the last answer."""


class EndpointMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot. `msgspec.json.encode` and `msgspec.to_builtins` take it as it is."""

    total: Metrics
    peers: dict[str, Metrics]
    """By fingerprint, `MAX_PEERS` at most."""
    peers_left_out: int
    """Peers with sessions that `peers` had no room for."""
    hook_failures: int
    emit_failures: int


class _Tally:
    """What is over, of one peer or of all."""

    __slots__ = ("asked", "authentication", "closed", "failed", "granted", "lost", "meter", "refused")

    def __init__(self) -> None:
        self.meter = Meter()
        self.closed: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.authentication: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.lost = [0, 0]
        self.asked = self.granted = 0

    def snapshot(self, sessions: Iterable[RttSession], limits: Mapping[str, int]) -> Metrics:
        """With the sessions that are not over, and limits that no session counts."""
        states: Counter[str] = Counter()
        meter = Meter()
        meter.merge(self.meter)
        for session in sessions:
            states[session.state] += 1
            meter.add_session(session.link)
        return self.metrics(states, meter, limits)

    def metrics(self, states: Counter[str], meter: Meter, limits: Mapping[str, int]) -> Metrics:
        """With sessions that were added to `meter` already."""
        counted = meter.snapshot()
        return Metrics(
            sessions=dict(states),
            sessions_closed=dict(self.closed),
            sessions_lost=self.lost[0],
            messages_lost=self.lost[1],
            carriers_opened=states.total() + self.closed.total() + counted["resumes"],
            carriers_failed=dict(self.failed),
            authentication_failures=dict(self.authentication),
            resumes_asked=self.asked,
            resumes_granted=self.granted,
            resumes_refused=dict(self.refused),
            reconnects=counted["resumes"],
            key_updates=counted["rekeys"],
            frames_sent=counted["frames_sent"],
            frames_received=counted["frames_received"],
            frames_resent=counted["resent"],
            frames_replayed=counted["replayed"],
            frames_skipped=counted["skipped"],
            resend_bytes=counted["resend_bytes"],
            kinds={name: KindMetrics(**kind) for name, kind in counted["kinds"].items()},
            limits=dict(Counter(counted["limits"]) + Counter(limits)),
            heartbeat=msgspec.convert(counted["heartbeat"], Histogram),
            acknowledgement=msgspec.convert(counted["acknowledgement"], Histogram),
        )


class Ledger:
    """Where an endpoint writes down what is over, and adds it to what is not."""

    def __init__(self) -> None:
        self._total = _Tally()
        self._peers: OrderedDict[str, _Tally] = OrderedDict()

    def carrier_failed(self, error: RttError, *, authentication: bool) -> None:
        """An opening failed; a peer's own metrics tell only of what happened after its key was proven (RTT-9)."""
        for tally in self._tallies(error.peer):
            tally.failed[error.code] += 1
            if authentication:
                tally.authentication[error.code] += 1

    def resume_asked(self, peer: str) -> None:
        """This side asks to go on with a session."""
        for tally in self._tallies(peer):
            tally.asked += 1

    def resume_granted(self, peer: str) -> None:
        """This side lets a peer go on with a session."""
        for tally in self._tallies(peer):
            tally.granted += 1

    def resume_refused(self, peer: str, code: str) -> None:
        """One side refused to go on with a session."""
        for tally in self._tallies(peer):
            tally.refused[code] += 1

    def session_ended(self, session: RttSession) -> None:
        """A session is over, and nobody will ask for it any more."""
        reason = (session.link.closed or ("local",))[0]
        report = session.close_report
        for tally in self._tallies(session.peer):
            tally.meter.add_session(session.link)
            tally.closed[reason] += 1
            if report is not None:
                tally.lost[0] += 1
                tally.lost[1] += report.count

    def _tallies(self, peer: str | None) -> tuple[_Tally, ...]:
        if peer is None:
            return (self._total,)
        tally = self._peers.pop(peer, None) or _Tally()
        self._peers[peer] = tally
        if len(self._peers) > MAX_PEERS:
            self._peers.popitem(last=False)
        return (self._total, tally)

    def snapshot(
        self,
        sessions: Mapping[str, Iterable[RttSession]],
        limits: Mapping[str, int],
        *,
        hook_failures: int,
        emit_failures: int,
    ) -> EndpointMetrics:
        """Everything, with the `sessions` of each peer that are not over and the `limits` of the endpoint itself."""
        meter, states = Meter(), Counter[str]()
        meter.merge(self._total.meter)
        peers: dict[str, Metrics] = {}
        # Those with sessions first: who is here matters more than who was.
        for peer in [*sessions, *(peer for peer in reversed(self._peers) if peer not in sessions)]:
            live = tuple(sessions.get(peer, ()))
            states.update(session.state for session in live)
            for session in live:
                meter.add_session(session.link)
            if len(peers) < MAX_PEERS:
                peers[peer] = (self._peers.get(peer) or _Tally()).snapshot(live, {})
        return EndpointMetrics(
            total=self._total.metrics(states, meter, limits),
            peers=peers,
            peers_left_out=sum(peer not in peers for peer in sessions),
            hook_failures=hook_failures,
            emit_failures=emit_failures,
        )
