"""What the demo prints: a line for each event, for people or for programs, and a summary at the end."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.demo.checks import Result

QUIET = frozenset(
    {
        "channel_close",
        "channel_open",
        "envelope_received",
        "envelope_sent",
        "handshake_step",
        "worker_template_started",
        "worker_exited",
        "worker_started",
    }
)
"""Event types that only programs are shown."""

EXTENSION = ("extension", "message", "operation", "ended", "failure", "worker", "processes", "survivors")
"""What is told of extensions."""

REFUSALS = frozenset({"auth_failure", "carrier_failed", "envelope_rejected", "replay_detected"})
"""Event types that say that something was refused."""


def as_object(event: dict[str, Any]) -> dict[str, Any]:
    """An event as `--json` prints it: a refusal says so, with its code, beside its type."""
    payload = event.get("payload", {})
    code = payload.get("code")
    if event["type"] in REFUSALS and code is not None:
        return {**event, "outcome": "refused", "code": code}
    return event


class Timeline:
    """Prints events as they come, with the time since the demo began and the names of the nodes."""

    def __init__(self, *, json: bool, out: TextIO = sys.stdout) -> None:
        self._json = json
        self._out = out
        self._names: dict[str, str] = {}
        self._began_ns: int | None = None
        self._handshakes: dict[tuple[str, str], int] = {}
        self.lost: OSError | None = None
        """Why nobody reads any more: the reader of a pipe has gone, or a disk is full."""
        self.events: list[dict[str, Any]] = []
        """Everything that was said, oldest first."""

    def name(self, fingerprint: str, name: str) -> None:
        """Show `name` where an event has `fingerprint`."""
        self._names[fingerprint] = name

    def event(self, event: dict[str, Any]) -> None:
        """Show one event."""
        shown = as_object(event)
        self.events.append(shown)
        if self._json:
            self._write(msgspec.json.encode(shown).decode())
        elif event["type"] not in QUIET:
            self._write(self._row(shown))

    def note(self, text: str) -> None:
        """Say something to people."""
        if not self._json:
            self._write(f"\n{text}")

    def summary(self, results: Sequence[Result], *, seed: int | None, seconds: float) -> None:
        """Show what became of every check."""
        passed = sum(result.status == "passed" for result in results)
        if self._json:
            summary = {
                "type": "summary",
                "node": "demo",
                "pid": os.getpid(),
                "ok": passed == len(results),
                "seed": seed,
                "seconds": round(seconds, 3),
                "checks": [msgspec.to_builtins(result) for result in results],
            }
            self._write(msgspec.json.encode(summary).decode())
            return
        self._write("\nchecks")
        for result in results:
            mark = {"passed": "ok  ", "failed": "FAIL", "not_reached": "-   "}[result.status]
            self._write(f"  {mark}  {result.name:<24} {result.detail}")
        self._write(f"\n{passed} of {len(results)} checks passed in {seconds:.1f} s")

    def _row(self, event: dict[str, Any]) -> str:
        began = self._began_ns = event["mono_ns"] if self._began_ns is None else self._began_ns
        elapsed_ms = (event["mono_ns"] - began) / 1e6
        peer = event.get("peer")
        name = "" if peer is None else self._names.get(peer, peer[:8])
        details = _details(event) + self._latency(event)
        return f"{elapsed_ms:9.1f} ms  {event['node']:<8} {event['type']:<22} {name:<8} {details}".rstrip()

    def _latency(self, event: dict[str, Any]) -> str:
        """How long a handshake took, by the clock of the node that completed it."""
        key = (event["node"], event.get("session_id", ""))
        if event["type"] == "handshake_started":
            self._handshakes[key] = event["mono_ns"]
        began = self._handshakes.pop(key, None) if event["type"] == "handshake_completed" else None
        return "" if began is None else f"in {(event['mono_ns'] - began) / 1e6:.2f} ms"

    def _write(self, line: str) -> None:
        if self.lost is None:
            try:
                self._out.write(f"{line}\n")
                self._out.flush()
            except OSError as error:
                self.lost = error


def _details(event: dict[str, Any]) -> str:
    payload = event.get("payload", {})
    parts = []
    if "from" in payload and "to" in payload:
        parts.append(f"{payload['from']} → {payload['to']}")
    if event.get("outcome") == "refused":
        parts.append(f"refused: {event['code']}")
    if event["type"] == "remembered":
        parts.append(" by ".join(payload[key] for key in ("trust", "human") if key in payload))
    parts += [
        f"{key} {payload[key]}"
        for key in ("event", "reason", "goal", "statement", "status", *EXTENSION)
        if payload.get(key) is not None
    ]
    return "   ".join(parts)
