"""An extension that nobody has enabled, run all the same: for its author, in a test or a dry run (EXT-42, EXT-44)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from web4.extensions.enabling.asking import asks_for
from web4.extensions.enabling.enabling_logic import ExtensionRecord
from web4.extensions.enabling.standing import EnabledExtension, Standing
from web4.extensions.errors import EnablingError, ManifestError, TreeError
from web4.extensions.places.pinning import read_pinned

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from web4.extensions.places.digest import TreeLimits
    from web4.extensions.quarantine import Change


def read_provisional(
    directory: str | os.PathLike[str], limits: TreeLimits | None = None, *, development: bool = False
) -> EnabledExtension:
    """Read an extension as if it had been enabled just now; no lane knows of it. Blocks.

    Never for what a node runs by itself: EXT-7 wants a human for that.

    Args:
        directory: The extension's.
        limits: Of the directory.
        development: Whether it is loaded anew when its files change.

    Raises:
        ManifestError: It is no extension.
        TreeError: Its directory cannot be pinned.
    """
    pinned = read_pinned(directory, limits)
    manifest = pinned.manifest
    record = ExtensionRecord(
        name=manifest.name,
        enabled=True,
        version=manifest.version,
        digest=pinned.tree.digest,
        directory=pinned.directory,
        files="",
        asks=asks_for(manifest),
        names=(),
        by="provisional",
        at_ms=0,
        development=development,
    )
    return EnabledExtension(
        manifest=manifest,
        directory=pinned.directory,
        digest=pinned.tree.digest,
        development=development,
        tree=pinned.tree,
        record=record,
    )


class Provisional:
    """Stands in for `Enabling` where no lane is: nothing is kept, and what is there now is what runs.

    Args:
        extensions: Those that there are.
        limits: Of their directories.
    """

    def __init__(self, extensions: Iterable[EnabledExtension], limits: TreeLimits | None = None) -> None:
        self._known = {one.manifest.name: one for one in extensions}
        self._limits = limits

    async def standing(self, name: str) -> Standing:
        """Read an extension again.

        Raises:
            EnablingError: `not_enabled`: there is none of this name.
        """
        known = self._known.get(name)
        if known is None:
            raise EnablingError(f"{name} is not enabled", code="not_enabled")

        def read() -> Standing:
            try:
                found = read_provisional(known.directory, self._limits, development=known.development)
            except (ManifestError, TreeError) as error:
                return Standing(record=known.record, problem=error, changed=True)
            if found.manifest.name != name:
                problem = EnablingError(f"{name} calls itself {found.manifest.name} now", code="changed")
                return Standing(record=known.record, problem=problem, changed=True)
            return Standing(record=found.record, extension=found, digest=found.digest)

        return await trio.to_thread.run_sync(read)

    async def reloaded(self, extension: EnabledExtension, generation: int) -> None:
        """Nothing is kept."""

    async def breaker_changed(self, name: str, change: Change, *, by: str | None = None) -> None:
        """Nothing is kept."""
