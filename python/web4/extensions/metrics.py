"""What is counted of each extension (EXT-40). Filled by the pool and the host, read by `health` and the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from web4.actors.metrics import Distribution

if TYPE_CHECKING:
    from web4.extensions.outcome import CallOutcome


class ExtensionMetrics:
    """Figures of one extension since the node started, over all its generations. Times are microseconds."""

    __slots__ = (
        "cancelled_in_queue",
        "cancelled_running",
        "codes",
        "cold_starts",
        "discarded_frames",
        "exits",
        "kills",
        "latency",
        "outcomes",
        "queue",
        "retries",
        "start",
        "warm_starts",
    )

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        """Calls by how they ended."""
        self.codes: dict[str, int] = {}
        """Failed calls by their code."""
        self.latency = Distribution()
        """From the hand-over to a worker to the end, of calls that a worker had."""
        self.queue = Distribution()
        """What calls waited for a worker."""
        self.cancelled_in_queue = 0
        """Calls whose caller went away before a worker was free: they have no outcome."""
        self.cancelled_running = 0
        """Calls that a worker had and whose outcome nobody got: its caller was cancelled, or raised in a callback."""
        self.retries = 0
        """Calls that were made again in a fresh worker (EXT-23)."""
        self.start = Distribution()
        """From asking for a worker until it was ready."""
        self.warm_starts = 0
        """Workers that were ready before a call needed them."""
        self.cold_starts = 0
        """Workers that a call had to wait for, because no spare was ready."""
        self.kills: dict[str, int] = {}
        """Workers that the node killed, by why: a code, or `idle`, `retired`, `drain` …"""
        self.exits = 0
        """Workers that are gone, killed or not."""
        self.discarded_frames = 0
        """Frames that came from workers whose call was concluded already (EXT-3)."""

    def concluded(self, outcome: CallOutcome) -> None:
        """Count the end of a call."""
        outcomes, ended = self.outcomes, outcome.outcome
        outcomes[ended] = outcomes.get(ended, 0) + 1
        code, elapsed, queued = outcome.code, outcome.elapsed_ms, outcome.queue_ms
        if code is not None:
            _count(self.codes, code)
        if elapsed is not None and outcome.worker_id is not None:
            self.latency.add(int(elapsed * 1000) if elapsed > 0 else 0)
        if queued is not None:
            self.queue.add(int(queued * 1000) if queued > 0 else 0)

    def started(self, start_ms: float, *, waited_for: bool) -> None:
        """Count a worker that became ready.

        Args:
            start_ms: How long that took, milliseconds.
            waited_for: Whether a call had to wait for it.
        """
        self.start.add(_microseconds(start_ms))
        if waited_for:
            self.cold_starts += 1
        else:
            self.warm_starts += 1

    def killed(self, reason: str) -> None:
        """Count a worker that the node killed. `reason` is one of the program's own words, never a worker's."""
        _count(self.kills, reason)

    def summary(self) -> dict[str, Any]:
        """All of them, as JSON values."""
        return {
            "calls": sum(self.outcomes.values()),
            "outcomes": dict(sorted(self.outcomes.items())),
            "codes": dict(sorted(self.codes.items())),
            "latency_us": self.latency.summary(),
            "queue_us": self.queue.summary(),
            "cancelled_in_queue": self.cancelled_in_queue,
            "cancelled_running": self.cancelled_running,
            "retries": self.retries,
            "start_us": self.start.summary(),
            "warm_starts": self.warm_starts,
            "cold_starts": self.cold_starts,
            "kills": dict(sorted(self.kills.items())),
            "exits": self.exits,
            "discarded_frames": self.discarded_frames,
        }


class HostMetrics:
    """The figures of all extensions of a node, by name. As many as were ever enabled since it started."""

    def __init__(self) -> None:
        self._of: dict[str, ExtensionMetrics] = {}

    def of(self, extension: str) -> ExtensionMetrics:
        """Those of one extension; new ones if it has none yet."""
        found = self._of.get(extension)
        if found is None:
            found = self._of[extension] = ExtensionMetrics()
        return found

    def summary(self) -> dict[str, dict[str, Any]]:
        """All of them, as JSON values."""
        return {name: self._of[name].summary() for name in sorted(self._of)}


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _microseconds(milliseconds: float) -> int:
    return int(milliseconds * 1000) if milliseconds > 0 else 0
