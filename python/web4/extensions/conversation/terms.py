"""What all workers of one generation of an extension are held to: made once, shared by them (EXT-39)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from web4.extensions.conversation.redacting import Redaction
from web4.extensions.manifests.schemas import compile_schema
from web4.foundation.events import no_events
from web4.worker.frames import MAX_FRAME

if TYPE_CHECKING:
    from web4.extensions.conversation.call import OnLog
    from web4.extensions.manifests.manifest import Manifest
    from web4.extensions.manifests.schemas import Schema
    from web4.foundation.events import Emitter
    from web4.journal.secret_search import SecretSearch


class Terms:
    """The manifest and what follows from it.

    Args:
        manifest: Checked.
        generation: Of the extension: a reload is another one.
        config: Handed to the extension as it starts.
        on_log: Gets the extension's log, line by line; must not block or raise.
        emit: Where telemetry goes.
        secrets: Values that never reach a log, nor the words of an outcome, beside what looks like one. A value that
            the extension answers with is its own: what becomes of it is its caller's concern (JRN-18f).
        frame_limit: Bytes of the largest frame.

    Raises:
        ManifestError: An output schema is none.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        generation: int = 1,
        config: dict[str, Any] | None = None,
        on_log: OnLog | None = None,
        emit: Emitter = no_events,
        secrets: tuple[SecretSearch, ...] = (),
        frame_limit: int = MAX_FRAME,
    ) -> None:
        self.manifest = manifest
        self.generation = generation
        self.config = config or {}
        self.on_log = on_log
        self.emit = emit
        self.redaction = Redaction(*secrets)
        self.frame_limit = frame_limit
        self.tools = frozenset(one.name for one in manifest.tools)
        self.commands = frozenset(one.name for one in manifest.commands)
        self.hooks = frozenset(one.point for one in manifest.hooks)
        self._outputs: dict[str, Schema] = {
            one.name: compile_schema(one.output_schema, field=f"tools.{one.name}.output_schema")
            for one in manifest.tools
            if one.output_schema is not None
        }
        resources = manifest.resources
        self.memory = resources.memory_mb << 20
        """Bytes."""
        self.tmp = resources.tmp_mb << 20
        """Bytes."""
        self.cpu_ns = resources.cpu_seconds * 1_000_000_000
        """Of one call."""
        self.output_bytes = resources.output_bytes
        """Of one call: its frames, and what is printed meanwhile."""

    def output(self, kind: str, name: str) -> Schema | None:
        """What the value of a call is held to."""
        return self._outputs.get(name) if kind == "tool" else None

    def limits(self) -> dict[str, int]:
        """Those in force, as the worker is told in `hello`, in the units of the manifest."""
        resources = self.manifest.resources
        return {
            "memory_mb": resources.memory_mb,
            "cpu_seconds": resources.cpu_seconds,
            "open_files": resources.open_files,
            "processes": resources.processes,
            "output_bytes": resources.output_bytes,
            "file_mb": resources.file_mb,
            "tmp_mb": resources.tmp_mb,
            "frame_bytes": self.frame_limit,
        }
