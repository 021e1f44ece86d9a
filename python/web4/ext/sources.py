"""Importing an extension from its sources alone: they are what was pinned, compiled caches are not (EXT-7)."""

from __future__ import annotations

import importlib.machinery
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import CodeType


class _SourceLoader(importlib.machinery.SourceFileLoader):
    """Compiles what lies in the extension's directory, and neither reads nor writes a cache of it.

    A cache is believed when it names the time and size of its source: whoever can write into `__pycache__` could
    otherwise run anything in the extension's name, and the digest of its directory would stay the same.
    """

    directory = ""

    def get_code(self, fullname: str) -> CodeType | None:
        """See `importlib.abc.InspectLoader`."""
        path = self.get_filename(fullname)
        if not path.startswith(self.directory):
            return super().get_code(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


_LOADERS: Final[Any] = (
    (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
    (_SourceLoader, importlib.machinery.SOURCE_SUFFIXES),
    (importlib.machinery.SourcelessFileLoader, importlib.machinery.BYTECODE_SUFFIXES),
)
"""As Python has them, in its order. A `.pyc` that stands where a source would is pinned like one."""


def import_from_sources(directory: str) -> None:
    """Believe no compiled cache of what is imported from `directory` on, in this process.

    Args:
        directory: The extension's, absolute and resolved. A package that it is part of is imported by the same rule.
    """
    _SourceLoader.directory = below = directory.rstrip("/") + "/"

    def hook(path: str) -> importlib.machinery.FileFinder:
        if f"{path}/".startswith(below) or below.startswith(f"{path.rstrip('/')}/"):
            return importlib.machinery.FileFinder(path, *_LOADERS)
        raise ImportError(path)

    sys.path_hooks.insert(0, hook)
    # Finders that were made before. Looked up by name: to walk through all would copy pages of the template.
    place = below
    while place:
        place = place.rstrip("/")
        for spelling in (place or "/", f"{place}/"):
            sys.path_importer_cache.pop(spelling, None)
        place = place.rpartition("/")[0]
