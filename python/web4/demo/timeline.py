"""What a demo prints: a row for each event, for people or for programs, and a summary at the end.

To a terminal rows go in colours, unless NO_COLOR says no; into a pipe they go plain. What peers wrote is made visible:
nothing in it can move a cursor.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

import msgspec
from rich.console import Console
from rich.text import Text

from web4.foundation.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from web4.demo.checks import Result

QUIET = frozenset(
    """
    channel_close channel_open envelope_received envelope_sent envelope_queued envelope_concluded envelope_routed
    handshake_started handshake_step loop_state phase worker_template_started worker_template_exited worker_exited
    worker_started extension_generation journal_opened recovery_finished state_update node_started node_stopping
    peer_added peer_removed topology_changed session_suspend session_close
    """.split()  # noqa: SIM905 - one line for each would fill a page
)
"""Event types that only programs are shown."""

REFUSALS = frozenset({"auth_failure", "carrier_failed", "envelope_rejected", "replay_detected"})
"""Event types that say that something was refused."""

TOLD: Final = (
    "event", "reason", "statement", "status", "human", "door", "result", "answer", "outcome", "rule", "body_bytes",
    "extension", "message", "operation", "ended", "failure", "worker", "processes", "survivors", "records", "lanes",
    "findings", "url",
)  # fmt: skip
"""What is told of a payload, in this order."""

_COLOURS: Final = {
    "alice": "cyan",
    "bob": "magenta",
    "mallory": "red",
    "web": "blue",
    "ada": "cyan",
    "ben": "magenta",
    "cleo": "yellow",
    "dan": "bright_blue",
    "nia": "red",
}
_GOOD: Final = "green"
_BAD: Final = "red"
_NEWS: Final = frozenset({"trust_transition", "consent_changed", "claim_accepted", "check_in_answered"})
_STATES: Final = frozenset({"consent_changed", "claim_accepted", "claim_disputed", "claim_rejected"})
_HEX: Final = re.compile("[0-9a-f]{64}")
_MARKS: Final = {"passed": ("ok  ", _GOOD), "failed": ("FAIL", _BAD), "not_reached": ("-   ", "dim")}


def as_object(event: dict[str, Any]) -> dict[str, Any]:
    """An event as `--json` prints it: a refusal says so, with its code, beside its type."""
    payload = event.get("payload", {})
    code = payload.get("code")
    if event["type"] in REFUSALS and code is not None:
        return {**event, "outcome": "refused", "code": code}
    return event


class _Output(Console):
    """A console that leaves it to its user what happens when nobody reads."""

    def on_broken_pipe(self) -> None:
        """Raise what was raised."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class Timeline:
    """Prints events as they come, with the time since the demo began and the names of the nodes."""

    def __init__(self, *, json: bool, out: TextIO = sys.stdout) -> None:
        self._json = json
        self._out = out
        # A width beyond every row: rich wraps nothing, a terminal does it as it likes.
        self._console = _Output(file=out, width=4_096, highlight=False, markup=False, emoji=False)
        self._names: dict[str, str] = {}
        self._began_ns: int | None = None
        self._handshakes: dict[tuple[str, str], int] = {}
        self._last: tuple[Any, ...] = ()
        self._again = 0
        self.lost: OSError | None = None
        """Why nobody reads any more: the reader of a pipe has gone, or a disk is full."""
        self.ending = False
        """Whether the story is over: that its processes end is for programs only."""
        self.events: list[dict[str, Any]] = []
        """Everything that was said, oldest first."""

    def name(self, fingerprint: str, name: str) -> None:
        """Show `name` where an event has `fingerprint`."""
        self._names[fingerprint] = name

    def event(self, event: dict[str, Any]) -> None:
        """Show one event, or one answer."""
        shown = as_object(event)
        self.events.append(shown)
        if event["type"] == "handshake_started":
            self._handshakes[event["node"], event.get("session_id", "")] = event["mono_ns"]
        if self._json:
            self._write(msgspec.json.encode(shown).decode())
        elif not self.ending and _is_news(event):
            self._show(shown)

    def _show(self, event: dict[str, Any]) -> None:
        """A row; what says the same of the same as the row before is counted."""
        details = "   ".join(filter(None, [*_details(event), self._latency(event)]))
        told = (event["node"], event["type"], event.get("peer"), details)
        if told == self._last:
            self._again += 1
            return
        self._count()
        self._last = told
        self._write(self._row(event, details))

    def _count(self) -> None:
        if self._again:
            self._write(
                Text(f"{'':12}{self._last[0]:<8} {'… and again':<20} {self._again} times", style="dim")
            )
        self._again, self._last = 0, ()

    def note(self, text: str) -> None:
        """Say something to people."""
        if not self._json:
            self._count()
            self._write(Text(f"\n{text}", style="bold"))

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
        self._count()
        self._write(Text("\nchecks", style="bold"))
        width = max(len(result.name) for result in results)
        for result in results:
            mark, style = _MARKS[result.status]
            self._write(
                _line((f"  {mark}", style), (f"  {result.name:<{width}}  {visible(result.detail)}", ""))
            )
        ended = _GOOD if passed == len(results) else _BAD
        self._write(
            _line((f"\n{passed} of {len(results)} checks passed", ended), (f" in {seconds:.1f} s", ""))
        )

    def _row(self, event: dict[str, Any], details: str) -> Text:
        began = self._began_ns = event["mono_ns"] if self._began_ns is None else self._began_ns
        elapsed = (event["mono_ns"] - began) / 1e9
        peer = event.get("peer")
        name = "" if peer is None else self._names.get(peer, peer[:8])
        node, kind = event["node"], event["type"]
        if kind == "answer":
            kind = event["payload"]["about"]
        refused = event.get("outcome") == "refused"
        style = _BAD if refused else _GOOD if kind in _NEWS else ""
        return _line(
            (f"{elapsed:8.3f} s  ", "dim"),
            (f"{visible(node):<8} ", _COLOURS.get(node, "")),
            (f"{visible(kind):<20} ", style),
            (f"{visible(name):<8} ", _COLOURS.get(name, "")),
            (visible(details), style),
        )

    def _latency(self, event: dict[str, Any]) -> str:
        """How long a handshake took, by the clock of the node that completed it."""
        key = (event["node"], event.get("session_id", ""))
        began = self._handshakes.pop(key, None) if event["type"] == "handshake_completed" else None
        return "" if began is None else f"in {(event['mono_ns'] - began) / 1e6:.2f} ms"

    def _write(self, line: str | Text) -> None:
        if self.lost is not None:
            return
        try:
            if isinstance(line, str):
                self._out.write(f"{line}\n")
            else:
                self._console.print(line, soft_wrap=True)
            self._out.flush()
        except OSError as error:
            self.lost = error


def _is_news(event: dict[str, Any]) -> bool:
    """Whether people are shown it. What a gate lets pass is no news."""
    passes = event["type"] == "gate_result" and event.get("payload", {}).get("result") == "ALLOW"
    return event["type"] not in QUIET and event.get("severity") != "debug" and not passes


def _line(*parts: tuple[str, str]) -> Text:
    """A line of pieces, each in its style; nothing trails."""
    text = Text.assemble(*parts)
    text.rstrip()
    return text


def _details(event: dict[str, Any]) -> Iterable[str]:
    payload = event.get("payload", {})
    if "from" in payload and "to" in payload:
        yield f"{payload['from'] or 'none'} → {payload['to']}"
    elif event["type"] in _STATES and event.get("state"):
        yield event["state"]
    if event.get("outcome") == "refused":
        yield f"refused: {event['code']}"
    elif payload.get("code"):
        yield f"{payload['code']}"
    if "trust" in payload:
        yield payload["trust"]
    for key in TOLD:
        value = payload.get(key)
        if value is not None and value != "" and not isinstance(value, dict):
            text = str(value)
            yield f"{key} {text[:8] if _HEX.fullmatch(text) else text}"
