"""The manifest: what an extension says of itself before any of it runs (EXT-5)."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from web4.worker.frames import CallKind  # noqa: TC001 - resolved at run time by whoever inspects the types
from web4.worker.request import CommandEntry, Level, Network, PythonEntry

FailMode = Literal["open", "closed"]
Reuse = Literal["shared", "session", "call"]

CLOSED_BY_DEFAULT: Final = frozenset(
    {
        "tool_call",
        "session_before_switch",
        "session_before_fork",
        "before_perceive",
        "before_decide",
        "before_exchange",
    }
)
"""Hook points whose guarded act does not happen when the hook fails, unless the manifest says otherwise (EXT-10)."""
HOOK_POINTS: Final = CLOSED_BY_DEFAULT | {
    "input",
    "before_agent_start",
    "run_start",
    "turn_start",
    "turn_end",
    "run_end",
    "tool_result",
    "after_state",
    "after_decide",
    "after_exchange",
    "after_memory",
}


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command, service, workload or rule."""

    name: str
    description: str
    input_schema: dict[str, Any] | None = None
    timeout_ms: int | None = None
    version: str | None = None


class Tool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool, offered to models (EXT-9, AGT-29)."""

    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    timeout_ms: int | None = None
    idempotent: bool = False
    cancellable: bool = True
    cancel_safe: bool = False
    permissions: tuple[str, ...] = ()
    high_risk: bool = False


class Hook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A hook at one point. `tools` are shell-style patterns, for the tool points; `fail` None is the point's own."""

    point: str
    fail: FailMode | None = None
    order: int = 0
    timeout_ms: int | None = None
    tools: tuple[str, ...] = ()
    rewrites: bool = False

    @property
    def fails_closed(self) -> bool:
        """Whether the guarded act does not happen when this hook fails (EXT-12)."""
        return (self.fail or ("closed" if self.point in CLOSED_BY_DEFAULT else "open")) == "closed"


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section 5; milliseconds, all positive (EXT-20). `silence_ms` is off unless named."""

    startup_ms: int = 10_000
    hook_ms: int = 2_000
    tool_ms: int = 60_000
    silence_ms: int | None = None
    idle_ms: int = 300_000
    queue_ms: int = 5_000
    cancel_ms: int = 500
    drain_ms: int = 500
    ui_ms: int = 60_000


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section 6."""

    memory_mb: int = 256
    cpu_seconds: int = 30
    open_files: int = 64
    processes: int = 1
    output_bytes: int = 8 * 1024 * 1024
    file_mb: int = 64
    tmp_mb: int = 256
    concurrency: int = 1
    workers: int = 4
    spares: int = 1


class SandboxWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the manifest asks for (section 8). Paths may be relative to the extension's directory."""

    level: Level = "standard"
    network: Network = "deny"
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest as read and checked. `reading.read_manifest` makes it."""

    name: str
    version: str
    description: str
    entry: PythonEntry | CommandEntry
    tools: tuple[Tool, ...] = ()
    commands: tuple[Part, ...] = ()
    services: tuple[Part, ...] = ()
    workloads: tuple[Part, ...] = ()
    rules: tuple[Part, ...] = ()
    hooks: tuple[Hook, ...] = ()
    timeouts: Timeouts = Timeouts()
    resources: Resources = Resources()
    sandbox: SandboxWish = SandboxWish()
    environment: tuple[str, ...] = ()
    ui: bool = False
    reuse: Reuse = "shared"

    def part(self, kind: CallKind, name: str) -> Tool | Part | Hook | None:
        """The tool, command, hook (by its point) … called `name` in this extension; None if there is none."""
        if kind == "hook":
            return next((one for one in self.hooks if one.point == name), None)
        named: tuple[Tool | Part, ...] = getattr(self, f"{kind}s")
        return next((one for one in named if one.name == name), None)

    def timeout_ms(self, kind: CallKind, name: str) -> int:
        """The limit of one call of it, milliseconds (section 5)."""
        part = self.part(kind, name)
        if part is not None and part.timeout_ms is not None:
            return part.timeout_ms
        if kind != "hook":
            return self.timeouts.tool_ms
        loop_point = name.startswith(("before_", "after_")) and name != "before_agent_start"
        return min(1_000, self.timeouts.hook_ms) if loop_point else self.timeouts.hook_ms
