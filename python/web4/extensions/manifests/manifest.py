"""The manifest: what an extension says of itself before any of it runs (EXT-5)."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from web4.worker.frames import CallKind  # noqa: TC001 - resolved at run time by whoever inspects the types
from web4.worker.request import CommandEntry, Level, Network, PythonEntry

MAX_MILLISECONDS: Final = 24 * 3_600_000
MAX_PARTS: Final = 256
MAX_LISTED: Final = 64

ExtensionName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z][a-z0-9_.-]{0,63}$(?!\n)",
        description="1 to 64 of a-z, 0-9, dot, underscore and hyphen; the first a letter.",
    ),
]
PartName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$(?!\n)",
        description="1 to 64 of letters, digits, dot, underscore and hyphen; the first a letter.",
    ),
]
ToolName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$(?!\n)",
        description="Without a dot: `<extension>.<tool>` ends at the last one (EXT-8).",
    ),
]
Version = Annotated[
    str,
    msgspec.Meta(
        max_length=128,
        pattern=r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
        r"(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
        r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$(?!\n)",
        description="A semantic version, 2.0.0.",
    ),
]
Description = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=8_192, description="Text for people, and of a tool for models."),
]
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=MAX_MILLISECONDS)]
"""A time, never zero, never unlimited (EXT-20)."""
PathText = Annotated[str, msgspec.Meta(max_length=4_096, pattern=r"^[^\n\t]+$(?!\n)")]
"""On one line, as it is shown: what is asked for could otherwise draw lines of its own (EXT-7)."""
Variable = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$(?!\n)")]
ToolPattern = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.*?!\[\]-]{1,128}$(?!\n)")]
Word = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[^\n\t]+$(?!\n)")]

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
    """A command, service, workload or rule. A command's name has no dot either."""

    name: PartName
    description: Description
    input_schema: dict[str, Any] | None = None
    timeout_ms: Milliseconds | None = None
    version: Version | None = None


class Tool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool, offered to models (EXT-9, AGT-29)."""

    name: ToolName
    description: Description
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    timeout_ms: Milliseconds | None = None
    idempotent: bool = False
    cancellable: bool = True
    cancel_safe: bool = False
    permissions: Annotated[tuple[Word, ...], msgspec.Meta(max_length=MAX_LISTED)] = ()
    high_risk: bool = False


class Hook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A hook at one point. `tools` are shell-style patterns, for the tool points; `fail` None is the point's own."""

    point: Word
    fail: FailMode | None = None
    order: Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000)] = 0
    timeout_ms: Milliseconds | None = None
    tools: Annotated[tuple[ToolPattern, ...], msgspec.Meta(max_length=MAX_LISTED)] = ()
    rewrites: bool = False

    @property
    def fails_closed(self) -> bool:
        """Whether the guarded act does not happen when this hook fails (EXT-12)."""
        return (self.fail or ("closed" if self.point in CLOSED_BY_DEFAULT else "open")) == "closed"


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section 5; milliseconds, all positive (EXT-20). `silence_ms` is off unless named."""

    startup_ms: Milliseconds = 10_000
    hook_ms: Milliseconds = 2_000
    tool_ms: Milliseconds = 60_000
    silence_ms: Milliseconds | None = None
    idle_ms: Milliseconds = 300_000
    queue_ms: Milliseconds = 5_000
    cancel_ms: Milliseconds = 500
    drain_ms: Milliseconds = 500
    ui_ms: Milliseconds = 60_000


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section 6. Megabytes are of 1,048,576 bytes.

    Args:
        memory_mb: What the worker's tree may hold.
        cpu_seconds: Of processor time, for one call.
        open_files: Descriptors of one process.
        processes: Of the tree; 1 forbids to fork, threads are free.
        output_bytes: Frames and captured output of one call.
        file_mb: Any one file.
        tmp_mb: The worker's own directory.
        concurrency: Calls in one worker at a time. Only 1 exists.
        workers: Of this extension at a time.
        spares: Workers kept ready; 0 keeps none.
    """

    memory_mb: Annotated[int, msgspec.Meta(ge=8, le=1_048_576)] = 256
    cpu_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 30
    open_files: Annotated[int, msgspec.Meta(ge=8, le=65_536)] = 64
    processes: Annotated[int, msgspec.Meta(ge=1, le=4_096)] = 1
    output_bytes: Annotated[int, msgspec.Meta(ge=1_024, le=2**30)] = 8 * 1024 * 1024
    file_mb: Annotated[int, msgspec.Meta(ge=1, le=1_048_576)] = 64
    tmp_mb: Annotated[int, msgspec.Meta(ge=1, le=1_048_576)] = 256
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=1_024)] = 1
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] = 4
    spares: Annotated[int, msgspec.Meta(ge=0, le=256)] = 1


class SandboxWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the manifest asks for (section 8).

    Paths may be relative to the extension's directory; in a `Manifest` they are absolute and resolved.
    """

    level: Level = "standard"
    network: Network = "deny"
    read: Annotated[tuple[PathText, ...], msgspec.Meta(max_length=MAX_LISTED)] = ()
    write: Annotated[tuple[PathText, ...], msgspec.Meta(max_length=MAX_LISTED)] = ()
    required: Annotated[tuple[Word, ...], msgspec.Meta(max_length=MAX_LISTED)] = ()


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
