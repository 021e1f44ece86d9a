"""Enabling: what a human is shown, what is pinned, and what may be started of it (EXT-7, EXT-8)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import trio

from web4.actors.lane_actors import open_lane_actors
from web4.extensions.enabling.asking import AskChange, Asks, asked_since, asks_for
from web4.extensions.enabling.enabling_logic import (
    Disable,
    Enable,
    EnablingReply,
    ExtensionRecord,
    NoteBreaker,
    NoteChanged,
    NoteReloaded,
    clash,
)
from web4.extensions.enabling.server_lane import EXTENSIONS, EXTENSIONS_ONLY
from web4.extensions.enabling.standing import EnabledExtension, Standing, stands
from web4.extensions.errors import EnablingError
from web4.extensions.manifests.ceilings import Ceilings, check_ceilings
from web4.extensions.manifests.grants import NodePaths, check_grants
from web4.extensions.places.digest import (
    FileDigest,
    TreeChange,
    TreeLimits,
    decode_files,
    difference,
    encode_files,
)
from web4.extensions.places.pinning import Pinned, read_pinned
from web4.journal.errors import BlobNotFoundError, CorruptJournalError
from web4.journal.lane import SERVER

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator

    from web4.actors.composite import CompositeLane
    from web4.actors.lane_ref import LaneRef
    from web4.extensions.enabling.enabling_logic import ExtensionCommand, ExtensionsState
    from web4.extensions.manifests.manifest import Manifest
    from web4.extensions.quarantine import Change
    from web4.journal.journal import Journal


class EnablingRules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every extension of a node.

    Args:
        node: What no grant may cover.
        ceilings: What may be asked for at most.
        reserved: Names of built-in tools.
        development: Names of extensions in development by the configuration, beside those enabled as such.
        tree: What a directory may hold.
    """

    node: NodePaths
    ceilings: Ceilings = Ceilings()
    reserved: tuple[str, ...] = ()
    development: tuple[str, ...] = ()
    tree: TreeLimits = TreeLimits()


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown before an extension is enabled (EXT-7).

    Args:
        pinned: What it is.
        asks: What it asks for.
        record: The last enabling, if there was one.
        asked: What it asks for otherwise than then.
        files: Which files differ from then; None when there was no enabling, or its list of files is gone.
        clash: Which name of it is taken (EXT-8): it would be refused.
    """

    pinned: Pinned
    asks: Asks
    record: ExtensionRecord | None = None
    asked: tuple[AskChange, ...] = ()
    files: TreeChange | None = None
    clash: str | None = None

    @property
    def digest(self) -> str:
        """Of what is shown: `Enabling.enable` pins this, and nothing else."""
        return self.pinned.tree.digest


class Enabling:
    """The extensions of a node, as its lane `server` has them. Open it with `open_enabling`, or give it a lane.

    Args:
        lane: Handle of lane `server`, of whose definition `EXTENSIONS` is a part.
        journal: The lane's; keeps the digests of files as blobs.
        rules: See `EnablingRules`.
    """

    def __init__(self, lane: LaneRef, journal: Journal, rules: EnablingRules) -> None:
        self.rules = rules
        self._lane = lane
        self._journal = journal

    async def state(self) -> ExtensionsState:
        """What the lane says, durably."""
        return EXTENSIONS.of(await self._lane.state())

    # --- acts of a human --------------------------------------------------------------------------------

    async def propose(self, directory: str | os.PathLike[str]) -> Proposal:
        """Read an extension and everything that a human has to be shown of it.

        Raises:
            ManifestError: It does not fit, asks for more than the ceilings, or for a path that is never granted.
            TreeError: Its directory cannot be pinned.
        """
        pinned = await trio.to_thread.run_sync(self._read, directory)
        asks = asks_for(pinned.manifest)
        state = await self.state()
        record = state.records.get(pinned.manifest.name)
        taken = clash(state, pinned.manifest.name, asks, self.rules.reserved)
        if record is None:
            return Proposal(pinned=pinned, asks=asks, clash=taken)
        before = await self._files(record)
        return Proposal(
            pinned=pinned,
            asks=asks,
            record=record,
            asked=asked_since(record.asks, asks),
            files=None if before is None else difference(before, pinned.tree.files),
            clash=taken,
        )

    async def enable(
        self, proposal: Proposal, *, by: str = "operator", how: str = "cli", development: bool = False
    ) -> ExtensionRecord:
        """Enable what was shown, if it still is what was shown. Durable when it returns.

        Cancellation: it may be enabled all the same; the lane tells.

        Args:
            proposal: What was shown.
            by: Who decided.
            how: Through which door.
            development: Whether its files may change without a human from now on.

        Raises:
            EnablingError: `digest_changed`, `name_clash`, `too_many`.
            ManifestError, TreeError: See `propose`.
            JournalError, ActorError: The lane does not take it.
        """
        pinned = await trio.to_thread.run_sync(self._read, proposal.pinned.directory)
        # The digest covers the manifest; what its paths resolve to lies outside of it.
        if pinned.tree.digest != proposal.digest or asks_for(pinned.manifest) != proposal.asks:
            raise EnablingError(
                f"{pinned.manifest.name} changed since it was shown: "
                f"{difference(proposal.pinned.tree.files, pinned.tree.files)}",
                code="digest_changed",
            )
        manifest = pinned.manifest
        files = await self._journal.put_blob(encode_files(pinned.tree.files))
        await self._ask(
            Enable(
                name=manifest.name,
                at=self._now(),
                version=manifest.version,
                digest=pinned.tree.digest,
                directory=pinned.directory,
                files=files,
                file_count=len(pinned.tree.files),
                asks=proposal.asks,
                by=by,
                how=how,
                development=development,
                reserved=self.rules.reserved,
            )
        )
        return (await self.state()).records[manifest.name]

    async def disable(self, name: str, *, by: str = "operator", reason: str | None = None) -> None:
        """Let an extension be started no more. Durable when it returns; who runs it has to end it.

        Raises:
            EnablingError: `not_enabled`.
            JournalError, ActorError: The lane does not take it.
        """
        await self._ask(Disable(name=name, at=self._now(), by=by, reason=reason))

    # --- what the node asks and notes -------------------------------------------------------------------

    async def standings(self) -> list[Standing]:
        """How every enabled extension stands: what may be started, and why the others may not. Notes nothing."""
        return [await self._stand(one) for one in (await self.state()).enabled()]

    async def standing(self, name: str) -> Standing:
        """How one enabled extension stands, read anew; a change is noted on the lane (EXT-40).

        Raises:
            EnablingError: `not_enabled`.
            JournalError, ActorError: The lane does not take the note.
        """
        record = (await self.state()).records.get(name)
        if record is None or not record.enabled:
            raise EnablingError(f"{name} is not enabled", code="not_enabled")
        standing = await self._stand(record)
        await self._note(standing)
        return standing

    async def extensions(self) -> tuple[list[EnabledExtension], list[Standing]]:
        """What may be started, and what may not; changes are noted on the lane (EXT-40).

        Raises:
            JournalError, ActorError: The lane does not take a note.
        """
        standings = await self.standings()
        for one in standings:
            await self._note(one)
        ready = [one.extension for one in standings if one.extension is not None]
        return ready, [one for one in standings if one.extension is None]

    async def reloaded(self, extension: EnabledExtension, generation: int) -> None:
        """Note that a new generation is to take over; until this returns the old one serves (EXT-39).

        Raises:
            EnablingError: `not_enabled`, `changed`, `name_clash`: the old one has to stay.
            JournalError, ActorError: The lane does not take it.
        """
        await self._ask(
            NoteReloaded(
                name=extension.manifest.name,
                at=self._now(),
                version=extension.manifest.version,
                digest=extension.digest,
                generation=generation,
                asks=asks_for(extension.manifest),
                development=extension.development,
                reserved=self.rules.reserved,
            )
        )

    async def breaker_changed(self, name: str, change: Change, *, by: str | None = None) -> None:
        """Keep what a breaker decided, so that it survives a restart (EXT-38).

        Args:
            name: The extension's.
            change: See `Breaker.conclude` and `Breaker.reset`.
            by: The human who reset it.

        Raises:
            EnablingError: `not_enabled`: it was disabled meanwhile.
            JournalError, ActorError: The lane does not take it.
        """
        state = change.state if change.event == "quarantined" else None
        await self._ask(NoteBreaker(name=name, at=self._now(), state=state, by=by))

    # --- inside -----------------------------------------------------------------------------------------

    def _now(self) -> int:
        return self._journal.clock.wall_ms()

    async def _ask(self, command: ExtensionCommand) -> None:
        reply: EnablingReply = await self._lane.ask(command)
        reply.raise_refusal()

    def _read(self, directory: str | os.PathLike[str]) -> Pinned:
        pinned = read_pinned(directory, self.rules.tree)
        self._allow(pinned.manifest, pinned.directory)
        return pinned

    def _allow(self, manifest: Manifest, directory: str) -> None:
        check_ceilings(manifest, self.rules.ceilings)
        check_grants(manifest, directory, self.rules.node)

    async def _stand(self, record: ExtensionRecord) -> Standing:
        files = await self._files(record)
        development = record.development or record.name in self.rules.development

        def stand() -> Standing:
            return stands(record, files, development=development, limits=self.rules.tree, allow=self._allow)

        return await trio.to_thread.run_sync(stand)

    async def _note(self, standing: Standing) -> None:
        if not standing.changed:
            return
        change = standing.change or TreeChange()
        await self._ask(
            NoteChanged(
                name=standing.record.name,
                at=self._now(),
                digest=standing.digest,
                added=change.added,
                removed=change.removed,
                changed=change.changed,
                reason=str(standing.problem),
            )
        )

    async def _files(self, record: ExtensionRecord) -> dict[str, FileDigest] | None:
        """The digests of the files that were enabled; None when the blob is gone."""
        try:
            return decode_files(await self._journal.get_blob(record.files))
        except (BlobNotFoundError, CorruptJournalError, ValueError):
            return None


@asynccontextmanager
async def open_enabling(
    journal: Journal, rules: EnablingRules, definition: CompositeLane = EXTENSIONS_ONLY
) -> AsyncIterator[Enabling]:
    """Serve lane `server` of a journal for the time of the block: for a command line, while no node runs.

    Args:
        journal: Opened for writing.
        rules: See `EnablingRules`.
        definition: Of the lane: with every part that may have written there.
    """
    async with open_lane_actors(journal, {"server": definition}) as actors:
        yield Enabling(actors.lane(SERVER), journal, rules)
