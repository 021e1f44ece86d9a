"""What a manifest may ask for at most (EXT-20, EXT-24): set by the operator, held against it at enabling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from web4.extensions.errors import ManifestError
from web4.extensions.manifests.manifest import Milliseconds
from web4.worker.request import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.extensions.manifests.manifest import Manifest

Positive = Annotated[int, msgspec.Meta(ge=1)]
_LEVELS: Final[tuple[Level, ...]] = ("none", "standard", "strict")


class Ceilings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table `[extensions.ceilings]` of `web4.toml`; keys and units are those of manifests.

    A part's own `timeout_ms` is held against `hook_ms` if it is a hook, else against `tool_ms`.

    Args:
        level: The weakest sandbox that may be asked for.
    """

    level: Level = "none"
    memory_mb: Positive = 2_048
    cpu_seconds: Positive = 600
    open_files: Positive = 1_024
    processes: Positive = 64
    output_bytes: Positive = 64 * 1024 * 1024
    file_mb: Positive = 2_048
    tmp_mb: Positive = 4_096
    workers: Positive = 16
    spares: Annotated[int, msgspec.Meta(ge=0)] = 4
    startup_ms: Milliseconds = 60_000
    hook_ms: Milliseconds = 30_000
    tool_ms: Milliseconds = 3_600_000
    silence_ms: Milliseconds = 3_600_000
    idle_ms: Milliseconds = 3_600_000
    queue_ms: Milliseconds = 60_000
    cancel_ms: Milliseconds = 10_000
    drain_ms: Milliseconds = 60_000
    ui_ms: Milliseconds = 600_000


def check_ceilings(manifest: Manifest, ceilings: Ceilings) -> None:
    """Hold what a manifest asks for against the node's ceilings (EXT-24).

    Raises:
        ManifestError: `ceiling`: it asks for more; `field` is the first key that does.
    """
    wanted = manifest.sandbox.level
    if _LEVELS.index(wanted) < _LEVELS.index(ceilings.level):
        raise ManifestError(
            f"level {wanted!r} is weaker than the node's {ceilings.level!r}",
            code="ceiling",
            field="sandbox.level",
        )
    for field, asked, ceiling in _asked(manifest, ceilings):
        if asked > ceiling:
            raise ManifestError(
                f"{asked:,} is more than the node's ceiling of {ceiling:,}", code="ceiling", field=field
            )


def _asked(manifest: Manifest, ceilings: Ceilings) -> Iterator[tuple[str, int, int]]:
    """Every number that has a ceiling: its key, what is asked for, the ceiling."""
    for table in ("resources", "timeouts"):
        for key, asked in msgspec.structs.asdict(getattr(manifest, table)).items():
            ceiling = getattr(ceilings, key, None)
            if asked is not None and ceiling is not None:
                yield f"{table}.{key}", asked, ceiling
    for kind in ("tools", "commands", "services", "workloads", "rules", "hooks"):
        ceiling = ceilings.hook_ms if kind == "hooks" else ceilings.tool_ms
        for index, part in enumerate(getattr(manifest, kind)):
            if part.timeout_ms is not None:
                yield f"{kind}[{index}].timeout_ms", part.timeout_ms, ceiling
