"""What holds for all extensions of a node while it runs them."""

from __future__ import annotations

from typing import Any

import msgspec

from web4.extensions.places.digest import TreeLimits
from web4.journal.secret_search import SecretSearch


class HostOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Set by the operator, by `web4.toml` for the most part. Ceilings are held against manifests at enabling.

    Args:
        memory_bytes: Of all workers and spares together (EXT-37); None for no ceiling but each worker's own.
        worker_user: Uid and gid that workers change to (EXT-33).
        hidden: What no grant may reach, absolute: keys, journal, sockets, configuration (EXT-31).
        without: Kernel features to do without, for a test build (EXT-32).
        config: What each extension is handed as it starts, by its name.
        environment: Where the variables come from that a manifest lets through; None for the node's own.
        secrets: What the node knows and no log may hold, beside the variables that a manifest lets through (EXT-28).
        tree: What a directory of an extension may hold.
        queue: Calls of one extension that may wait for a worker.
        calls: After so many calls a worker is retired (EXT-25).
        watch_ms: How often the files of an extension in development are looked at (EXT-39).
        settle_ms: What a call gets to finish that is not cancellable (TURN-8c).
        close_ms: What open calls and idle workers get in all when the node leaves, before everything is killed.
    """

    memory_bytes: int | None = None
    worker_user: tuple[int, int] | None = None
    hidden: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    config: dict[str, dict[str, Any]] = {}
    environment: dict[str, str] | None = None
    secrets: tuple[SecretSearch, ...] = ()
    tree: TreeLimits = TreeLimits()
    queue: int = 1_024
    calls: int = 1_000
    watch_ms: int = 500
    settle_ms: int = 5_000
    close_ms: int = 10_000
