"""Which paths a manifest may be granted (EXT-31): nothing that covers the node's own, in strict nothing of a home."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from web4.extensions.errors import ManifestError
from web4.extensions.manifests.reading import inside

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.extensions.manifests.manifest import Manifest

_PROC: Final = "/proc"


class NodePaths(msgspec.Struct, frozen=True, kw_only=True):
    """What of the node no extension may reach, whatever is granted. Absolute; links are resolved when it is used.

    Args:
        data: The node's data directory: identity, journal, sockets and all.
        more: Keys, sockets and configuration that lie elsewhere.
    """

    data: str
    more: tuple[str, ...] = ()

    @property
    def hidden(self) -> tuple[str, ...]:
        """All of them, resolved: what `Sandbox.hidden` of a worker is."""
        return tuple(dict.fromkeys(os.path.realpath(one) for one in (self.data, *self.more)))


def check_grants(manifest: Manifest, directory: str, node: NodePaths) -> None:
    """Refuse grants that reach what is the node's, or that change what was pinned. Blocks.

    Args:
        manifest: Its paths are resolved.
        directory: The extension's, resolved. Inside the data directory it stays the extension's own.
        node: See there.

    Raises:
        ManifestError: `grant`; `field` is the path's key, None when it is the extension's own directory.
    """
    homes = _homes() if manifest.sandbox.level == "strict" else frozenset()
    hidden = node.hidden
    _check_own(directory, node, hidden)
    for access in ("read", "write"):
        for index, asked in enumerate(getattr(manifest.sandbox, access)):
            # Resolved again: a link may point elsewhere by now.
            path = os.path.realpath(asked)
            reason = _refused(path, directory, hidden, homes, writes=access == "write")
            if reason is not None:
                raise ManifestError(
                    f"{path} is not granted: {reason}", code="grant", field=f"sandbox.{access}[{index}]"
                )


def _check_own(directory: str, node: NodePaths, hidden: Iterable[str]) -> None:
    """Refuse a directory that a worker may not read all of: it always may read its own."""
    kept = f"{os.path.realpath(node.data)}/extensions"
    below = directory != kept and inside(directory, kept)
    for own in (*hidden, _PROC):
        if inside(own, directory) or (inside(directory, own) and not below):
            raise ManifestError(
                f"{directory} cannot be an extension's: {own} is the node's own, and a worker reads its directory",
                code="grant",
            )


def _refused(
    path: str, directory: str, hidden: Iterable[str], homes: Iterable[str], *, writes: bool
) -> str | None:
    """Why a path is not granted; None if it may be."""
    if writes and _touches(path, directory):
        return "what is pinned there would change under its digest (EXT-7); write to `tmp`, or elsewhere"
    if not writes and inside(path, directory):
        return None  # its own, wherever that lies
    for own in hidden:
        if _touches(path, own):
            return f"the node's own files are never granted, and {own} is among them (EXT-31)"
    if _touches(path, _PROC):
        return "processes show themselves there, the node among them (EXT-31)"
    for home in homes:
        if _touches(path, home):
            return f"strict grants nothing of a home, and {home} is one (section 8)"
    return None


def _touches(path: str, other: str) -> bool:
    """Whether one of two resolved paths covers the other."""
    return inside(path, other) or inside(other, path)


def _homes() -> frozenset[str]:
    """The homes of people on this machine, and that of the node's user."""
    named = {os.path.expanduser("~")}  # noqa: PTH111 - `Path.home` raises where there is none
    named |= {one.pw_dir for one in pwd.getpwall() if one.pw_uid >= 1_000 or one.pw_uid in {0, os.getuid()}}
    real = {os.path.realpath(one) for one in named if one.startswith("/")}
    # Accounts of services name `/`, `/nonexistent` and the like: no homes.
    return frozenset(one for one in (*real, "/home", "/root") if one != "/" and Path(one).is_dir())
