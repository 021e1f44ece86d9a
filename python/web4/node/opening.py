"""`open_node`: the node of a data directory, from its files to the moment it listens (WEB-6)."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from web4.foundation.clock import SystemClock
from web4.foundation.ids import SystemIds
from web4.journal.event_types import EventRegistry
from web4.journal.opening import open_journal
from web4.node.config import read_config
from web4.node.directory import Places, open_directory
from web4.node.errors import DirectoryError
from web4.node.journals import open_journal_of
from web4.node.node import Node
from web4.node.options import NodeParts
from web4.node.ownership import check_owner
from web4.node.settings import hub_sinks
from web4.observe import Redaction, open_hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.node.config import NodeConfig


@asynccontextmanager
async def open_node(
    directory: Path | str, *, config: NodeConfig | None = None, parts: NodeParts | None = None
) -> AsyncIterator[Node]:
    """Run the node of a data directory for the time of the block.

    Recovery is over and the node listens when the block begins; at its end sessions are closed gracefully, and what
    is promised to peers waits in the journal. Cancelled, or left by an exception, it stops at once: the next start
    goes on from what is durable.

    Args:
        directory: Made by `web4 init`, or `make_directory`.
        config: Instead of the directory's `web4.toml`.
        parts: What only a program can give: the agent's loop above all.

    Raises:
        DirectoryError, IdentityError, ConfigurationError, PeersFileError: What is in the directory does not fit, the
            key was rotated meanwhile, or the journal is another key's.
        JournalError: The journal cannot be opened; another node may hold it.
        RttError: It cannot listen.
    """
    places = Places(Path(directory))
    parts = parts or NodeParts()
    clock, ids = parts.clock or SystemClock(), parts.ids or SystemIds()
    identity = await trio.to_thread.run_sync(open_directory, places)
    if config is None:
        config = await trio.to_thread.run_sync(read_config, places.config)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        hub = await enter(
            open_hub(
                config.node.name or places.name,
                sinks=await hub_sinks(config, places, parts),
                redaction=Redaction(show_contents=config.observe.content),
                clock=clock,
                ids=SystemIds(),
            )
        )
        backend = await enter(open_journal_of(places, identity.fingerprint, config.journal))
        # Whoever rotates the key holds the journal's lock, but this one's key was read before.
        if (await trio.to_thread.run_sync(open_directory, places)).fingerprint != identity.fingerprint:
            raise DirectoryError(f"the key in {places.data} was rotated meanwhile", code="identity_changed")
        signed = await check_owner(backend, identity, places)
        journal = await enter(
            open_journal(
                backend, registry=EventRegistry(), identity=identity, clock=clock, ids=ids, emit=hub.emit
            )
        )
        if not signed:
            journal.anchor_soon()  # from its first records on it says whose it is
        node = Node(places, identity, config, parts, hub=hub, journal=journal, clock=clock, ids=ids)
        await node.assemble(stack)
        hub.emit("node_started", fingerprint=node.fingerprint)
        yield node
        hub.emit("node_stopping", reason="asked")
