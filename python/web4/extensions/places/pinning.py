"""An extension as it was read at one moment: its manifest, and the digest of the files that the manifest is one of."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from web4 import _core
from web4.extensions.errors import ManifestError, TreeError
from web4.extensions.manifests.manifest import Manifest
from web4.extensions.manifests.manifest_file import manifest_path, parse_document, read_bytes
from web4.extensions.manifests.reading import manifest_of
from web4.extensions.places.digest import TreeDigest, TreeLimits, tree_digest


class Pinned(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest and the digest that covers it.

    Args:
        manifest: Read from the very bytes that `tree` has the digest of.
        directory: Absolute and resolved.
        tree: See there.
    """

    manifest: Manifest
    directory: str
    tree: TreeDigest


def read_pinned(directory: str | os.PathLike[str], limits: TreeLimits | None = None) -> Pinned:
    """Read an extension's directory, and its manifest as the digest covers it (EXT-7). Blocks.

    Args:
        directory: The extension's.
        limits: See `TreeLimits`.

    Raises:
        ManifestError: See `read_manifest`.
        TreeError: See `tree_digest`; `tree_restless` when the manifest is another than the one just read.
    """
    try:
        root = Path(os.path.realpath(directory))
        if not str(root).isprintable():
            raise ManifestError("the extension's path is no plain text: it could not be shown")
        path = manifest_path(root)
        tree = tree_digest(root, limits)
        data = read_bytes(path)
        # A manifest that was exchanged in between would show one thing and pin another.
        covered = tree.files.get(path.name)
        if covered is None or covered.digest != _core.blake3(data).hex():
            raise TreeError(f"{path} changed while it was read", code="tree_restless")
        manifest = manifest_of(parse_document(data, path), root)
    except (OSError, ValueError) as error:
        raise ManifestError(f"the extension cannot be read: {type(error).__name__}") from None
    return Pinned(manifest=manifest, directory=str(root), tree=tree)
