"""How an enabled extension stands: whether what is there is what was enabled, and may be started (EXT-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from web4.extensions.enabling.asking import asked_since, asks_for, guarded_since
from web4.extensions.enabling.enabling_logic import ExtensionRecord
from web4.extensions.errors import EnablingError, ExtensionError, ManifestError, TreeError
from web4.extensions.manifests.manifest import Manifest
from web4.extensions.places.digest import FileDigest, TreeChange, TreeDigest, TreeLimits, difference
from web4.extensions.places.pinning import Pinned, read_pinned

if TYPE_CHECKING:
    from collections.abc import Callable

    Allow = Callable[[Manifest, str], None]


class EnabledExtension(msgspec.Struct, frozen=True, kw_only=True):
    """An extension that may be started.

    Args:
        manifest: As it is covered by `digest`.
        directory: Absolute and resolved.
        digest: Of the directory as it was read.
        development: Whether its files may change without a human.
        tree: What it was read as: `digest.unchanged(directory, tree)` is the cheap look before each start.
        record: What the lane has of it, the state of its quarantine included.
    """

    manifest: Manifest
    directory: str
    digest: str
    development: bool
    tree: TreeDigest
    record: ExtensionRecord


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How an enabled extension stands.

    Args:
        record: What the lane has of it.
        extension: Set when it may be started.
        problem: Set when it may not.
        changed: Whether that is because it is not what was enabled.
        change: Which files differ, as far as that is known.
        digest: Of what was found; None when it could not be read.
    """

    record: ExtensionRecord
    extension: EnabledExtension | None = None
    problem: ExtensionError | None = None
    changed: bool = False
    change: TreeChange | None = None
    digest: str | None = None


def stands(
    record: ExtensionRecord,
    files: dict[str, FileDigest] | None,
    *,
    development: bool,
    limits: TreeLimits,
    allow: Allow,
) -> Standing:
    """Read an enabled extension again and compare it with what was enabled. Blocks; raises nothing of `ExtensionError`.

    Args:
        record: What was enabled.
        files: The digests of its files then; None when they are not known any more.
        development: Whether its files may differ. What it may reach may not: that is for a human.
        limits: Of the directory.
        allow: Raises `ManifestError` for what the node does not allow, ceilings and grants.
    """
    try:
        pinned = read_pinned(record.directory, limits)
    except (ManifestError, TreeError) as error:
        # Unreadable is not what was enabled either; the manifest was good then.
        return Standing(record=record, problem=error, changed=True)
    digest = pinned.tree.digest
    change = difference(files, pinned.tree.files) if files is not None else None
    reason = _differs(record, pinned, development=development, change=change)
    if reason is not None:
        problem = EnablingError(f"{record.name} is not what was enabled: {reason}", code="changed")
        return Standing(record=record, problem=problem, changed=True, change=change, digest=digest)
    try:
        allow(pinned.manifest, pinned.directory)
    except ManifestError as error:  # the node's rules have changed, not the extension
        return Standing(record=record, problem=error, digest=digest)
    extension = EnabledExtension(
        manifest=pinned.manifest,
        directory=pinned.directory,
        digest=digest,
        development=development,
        tree=pinned.tree,
        record=record,
    )
    return Standing(record=record, extension=extension, change=change, digest=digest)


def _differs(
    record: ExtensionRecord, pinned: Pinned, *, development: bool, change: TreeChange | None
) -> str | None:
    """How it is not what was enabled, as a sentence; None if it is."""
    if pinned.manifest.name != record.name:
        return f"it calls itself {pinned.manifest.name} now"
    if pinned.directory != record.directory:
        return f"its directory leads to {pinned.directory} now"
    same = pinned.tree.digest == record.digest
    if not same and not development:
        return str(change) if change else "its files differ"
    try:
        asks = asks_for(pinned.manifest)
    except ManifestError as error:
        return str(error)
    # Of equal files only paths can differ, by where their links lead to.
    asked = asked_since(record.asks, asks) if same else guarded_since(record.asks, asks)
    if asked:
        return f"it asks for {'; '.join(map(str, asked))[:500]}"
    return None
