"""What a call came to, for programs and for people, and the exit code of it (EXT-26)."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from web4.cli import exits
from web4.cli.output import encode
from web4.cli.running import Answer
from web4.cli.text import facts, paint, visible

if TYPE_CHECKING:
    from web4.extensions.outcome import CallOutcome

_EXITS: Final = {
    "extension_timeout": exits.TIMED_OUT,
    "extension_start_timeout": exits.TIMED_OUT,
    "extension_busy": exits.TIMED_OUT,
    "extension_quarantined": exits.REFUSED,
    "extension_unprotected": exits.REFUSED,
    "extension_changed": exits.CONFLICT,
}
"""By code; every other failure is exit 1: it was called, and it failed."""

_HINTS: Final = {
    "extension_changed": "`web4 ext show {name}` names the files; `web4 ext enable {name}` takes it as it is now",
    "extension_quarantined": "it failed too often; `web4 ext show {name}` says until when, `web4 ext reset {name}` "
    "ends it now",
    "extension_unprotected": "`web4 doctor` says what this machine does not give, and what to do about it",
    "extension_start_failed": "`web4 ext check DIR` starts it and says all that is wrong",
    "extension_busy": "all its workers are taken: call it again, or raise `resources.workers`",
    "extension_memory_exceeded": "the limit is `resources.memory_mb` of its manifest, for all of the worker",
    "extension_cpu_exceeded": "the limit is `resources.cpu_seconds` of its manifest, for each call",
    "extension_output_exceeded": "the limit is `resources.output_bytes` of its manifest: the result, and what it prints",
    "extension_disk_exceeded": "the limits are `resources.file_mb` and `resources.tmp_mb` of its manifest",
    "extension_invalid_result": "its `output_schema` and its code disagree: `web4 ext check DIR` says where",
    "extension_timeout": "the limit is `timeout_ms` of the tool, or `--timeout-ms`",
}

_DENIED: Final = (
    "the sandbox may have refused it: one process, no network, its own directory to read and `ctx.tmp` to write, unless "
    "the manifest asks for more; `web4 ext show {name}` says what it has"
)


def answer_of(outcome: CallOutcome) -> Answer:
    """The answer of `web4 ext call`: the value alone for people, everything for programs."""
    data: dict[str, Any] = msgspec.to_builtins(outcome)
    if outcome.outcome == "ok":
        return Answer(data, _value(outcome.value))
    lines = [paint(visible(f"{outcome.outcome}: {outcome.code}"), "red"), *_told(outcome)]
    lines += ["  " + visible(line) for line in _traceback(outcome)]
    if outcome.stderr:
        lines += ["", "what it wrote to standard error, its end:"]
        lines += ["  " + visible(line) for line in outcome.stderr.splitlines()]
    hint = _HINTS.get(outcome.code or "")
    if hint is None and _is_denied(outcome):
        hint = _DENIED
    if hint:
        lines += ["", visible(hint.format(name=outcome.extension))]
    return Answer(data, lines, exit_of(outcome))


def exit_of(outcome: CallOutcome) -> int:
    """The exit code that a call comes to."""
    return exits.DONE if outcome.outcome == "ok" else _EXITS.get(outcome.code or "", exits.NO)


def _value(value: Any) -> list[str]:
    """Text as it is, line by line; everything else as JSON."""
    if isinstance(value, str):
        return [visible(line) for line in value.split("\n")]
    return [encode(value)]


def _told(outcome: CallOutcome) -> list[str]:
    ended = None
    if outcome.signal is not None:
        ended = f"by signal {_signal_name(outcome.signal)}"
    elif outcome.exit_status is not None:
        ended = f"with exit status {outcome.exit_status}"
    peak = outcome.peak_memory_bytes
    return facts(
        [
            ("reason", outcome.reason),
            ("operation", f"{outcome.extension} {outcome.version}, {outcome.operation}"),
            ("took", _time(outcome)),
            ("worker ended", ended),
            ("processor time", None if outcome.cpu_ms is None else f"{outcome.cpu_ms:.0f} ms"),
            ("most memory", None if peak is None else f"{peak / 2**20:.1f} MiB"),
            ("sandbox", outcome.sandbox),
            (
                "side effects",
                {True: "yes", False: "none", None: "it may have had some"}[outcome.side_effects],
            ),
            ("worth another try", "yes" if outcome.retryable else None),
            ("call", outcome.call_id),
        ]
    )


def _traceback(outcome: CallOutcome) -> list[str]:
    """Where the extension's own error was raised, if it says so."""
    said = outcome.data.get("traceback") if isinstance(outcome.data, dict) else None
    return [str(one) for one in said] if isinstance(said, list) else []


def _is_denied(outcome: CallOutcome) -> bool:
    """Whether it failed for what the kernel refuses a worker, as Python tells it."""
    said = outcome.reason or ""
    return outcome.sandbox in {"standard", "strict"} and ("PermissionError" in said or "gaierror" in said)


def _time(outcome: CallOutcome) -> str | None:
    if outcome.elapsed_ms is None:
        return None
    limit = "" if outcome.timeout_ms is None else f", the limit is {outcome.timeout_ms} ms"
    return f"{outcome.elapsed_ms:.0f} ms{limit}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
