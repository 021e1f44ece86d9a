"""How extensions stand: what is found, beside what the lane `server` says. Works beside a running node."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from web4.cli.journal.known import known_types
from web4.cli.text import moment
from web4.extensions.enabling.enabling_logic import ExtensionsState
from web4.extensions.enabling.server_lane import EXTENSIONS
from web4.extensions.enabling.standing import Standing, stands
from web4.extensions.manifests.ceilings import check_ceilings
from web4.extensions.manifests.grants import check_grants
from web4.extensions.places.digest import FileDigest, TreeLimits, decode_files
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.blobs import get_blob
from web4.journal.errors import BlobNotFoundError, CorruptJournalError
from web4.journal.lane import SERVER
from web4.journal.replay import state_at
from web4.mesh.server_lane import SERVER_LANE
from web4.node.journals import check_in_directory

if TYPE_CHECKING:
    from pathlib import Path

    from web4.cli.extensions.places import Surroundings
    from web4.extensions.enabling.enabling_logic import ExtensionRecord
    from web4.extensions.manifests.manifest import Manifest
    from web4.extensions.places.discovery import Found
    from web4.extensions.quarantine import BreakerState

ENABLED, DEVELOPMENT, NOT_ENABLED, CHANGED, QUARANTINED, REFUSED, BROKEN, GONE = (
    "enabled",
    "development",
    "not_enabled",
    "changed",
    "quarantined",
    "refused",
    "broken",
    "gone",
)


class Known(NamedTuple):
    """What the journal says of extensions.

    Args:
        state: Of the lane `server`.
        files: By extension, the digests of the files that were enabled; None where they are not known any more.
    """

    state: ExtensionsState
    files: dict[str, dict[str, FileDigest] | None]


class Row(NamedTuple):
    """One extension.

    Args:
        name: Its name.
        state: One of the words above.
        why: What there is to say about that.
        found: Where it was found; None if it is enabled and no place that is searched holds it.
        record: What the lane has of it.
        standing: How what is there compares with what was enabled.
    """

    name: str
    state: str
    why: str | None
    found: Found | None
    record: ExtensionRecord | None
    standing: Standing | None

    @property
    def manifest(self) -> Manifest | None:
        """The one that is there now."""
        return None if self.found is None else self.found.manifest

    @property
    def version(self) -> str | None:
        """That is there; of one that is gone, that was enabled."""
        if self.manifest is not None:
            return self.manifest.version
        return None if self.record is None else self.record.version

    @property
    def directory(self) -> str | None:
        """Where it is, or was."""
        if self.found is not None:
            return self.found.directory
        return None if self.record is None else self.record.directory

    def document(self) -> dict[str, Any]:
        """For programs."""
        record = self.record if self.record is not None and self.record.enabled else None
        return {
            "name": self.name,
            "version": self.version,
            "state": self.state,
            "why": self.why,
            "place": None if self.found is None else self.found.place,
            "directory": self.directory,
            "digest": None if record is None else record.digest,
            "enabled_at": None if record is None else record.at_ms,
            "enabled_by": None if record is None else record.by,
        }


async def known(data: Path) -> Known:
    """Read what the node's journal says; nothing if there is none.

    Raises:
        JournalError: It is there, and cannot be read.
        ConfigurationError: It is not in the data directory.
    """
    await trio.to_thread.run_sync(check_in_directory, data)
    where = data / "journal"
    if not (where / "journal.db").exists():
        return Known(ExtensionsState(), {})
    async with open_sqlite(where, read_only=True) as backend:
        head = await backend.head(SERVER)
        snapshot = await state_at(backend, SERVER_LANE, known_types(["server"]), SERVER, head.seq)
        state = EXTENSIONS.of(SERVER_LANE.decode(snapshot.state))
        files: dict[str, dict[str, FileDigest] | None] = {}
        for record in state.enabled():
            try:
                files[record.name] = decode_files(await get_blob(backend, record.files))
            except (BlobNotFoundError, CorruptJournalError, ValueError):
                files[record.name] = None
    return Known(state, files)


async def rows(around: Surroundings, names: frozenset[str] | None = None) -> list[Row]:
    """How all extensions stand, or those of some names; by name.

    Raises:
        JournalError: The journal cannot be read.
    """
    here = await known(around.data)
    found = await trio.to_thread.run_sync(around.discover, abandon_on_cancel=True)
    wanted = [one for one in found if names is None or one.name in names]
    made = [await _row(around, one.name, one, here) for one in wanted]
    seen = {one.name for one in found}
    for record in here.state.enabled():
        if record.name not in seen and (names is None or record.name in names):
            made.append(await _row(around, record.name, None, here))
    return sorted(made, key=lambda one: one.name)


async def _row(around: Surroundings, name: str, found: Found | None, here: Known) -> Row:
    record = here.state.records.get(name)
    standing = None
    if record is not None and record.enabled:
        standing = await trio.to_thread.run_sync(
            _stand, around, record, here.files[name], abandon_on_cancel=True
        )
    state, why = _state(found, record, standing)
    return Row(name, state, why, found, record, standing)


def _stand(around: Surroundings, record: ExtensionRecord, files: dict[str, FileDigest] | None) -> Standing:
    def allow(manifest: Manifest, directory: str) -> None:
        check_ceilings(manifest, around.configuration.ceilings)
        check_grants(manifest, directory, around.paths)

    development = record.development or record.name in around.configuration.development
    return stands(record, files, development=development, limits=TreeLimits(), allow=allow)


def _state(
    found: Found | None, record: ExtensionRecord | None, standing: Standing | None
) -> tuple[str, str | None]:
    if found is not None and found.error is not None:
        return BROKEN, str(found.error.args[0])
    if record is None or standing is None:
        return NOT_ENABLED, None
    if found is not None and found.directory != record.directory:
        return CHANGED, f"it was enabled in {record.directory}"
    if standing.problem is not None:
        gone = found is None and standing.digest is None
        return (GONE if gone else CHANGED if standing.changed else REFUSED), str(standing.problem.args[0])
    if record.quarantine is not None and record.quarantine.is_open:
        return QUARANTINED, _quarantined(record.quarantine)
    return _running(standing)


def _running(standing: Standing) -> tuple[str, str | None]:
    if standing.extension is not None and standing.extension.development:
        return DEVELOPMENT, "its files may change without anybody being asked"
    return ENABLED, None


def _quarantined(state: BreakerState) -> str:
    over = state.until <= time.time_ns() // 1_000_000
    return f"{state.code}; trial calls are let through {'since' if over else 'after'} {moment(state.until)}"
