"""All that is wrong with a manifest, at once: the reader stops at the first thing, an author wants the rest too."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from web4.extensions.errors import ManifestError
from web4.extensions.manifests.manifest import HOOK_POINTS
from web4.extensions.manifests.manifest_file import manifest_path, parse_document, read_bytes
from web4.extensions.manifests.reading import manifest_of

if TYPE_CHECKING:
    from pathlib import Path

    from web4.extensions.manifests.manifest import Manifest

_MOST: Final = 50
_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_MISSING: Final = re.compile(r"missing required field `(\w+)`")
_SOUND: Final[dict[str, Any]] = {
    "schema": 1,
    "protocol": 1,
    "version": "0.0.0",
    "description": "none",
    "entry": {"python": "unnamed:ext"},
    "input_schema": {"type": "object"},
}
"""What stands in for a key that must be there, so that the rest can be looked at."""
_WHOLE: Final = frozenset({"entry", "input_schema", "output_schema"})
"""Keys whose values are taken as one."""

_Path = list[str | int]


class Looked(NamedTuple):
    """What was found in a directory.

    Args:
        manifest: What is sound of it, the rest taken out or replaced; None if nothing can be made of it.
        problems: What does not fit, in the order in which it was met.
    """

    manifest: Manifest | None
    problems: list[ManifestError]

    def harmed(self, *keys: str) -> bool:
        """Whether something is wrong at, or below, one of these keys, or nobody knows where."""
        return any(one.field is None or _path(one.field)[0] in keys for one in self.problems)


def look_at(directory: Path) -> Looked:
    """Read the manifest of a directory, absolute and resolved, and find all that does not fit. Blocks.

    What is wrong is taken out of a copy, or replaced, and the copy is read again. Of a list of words only the first
    that is wrong is found.
    """
    found: list[ManifestError] = []
    try:
        path = manifest_path(directory)
        document = copy.deepcopy(parse_document(read_bytes(path), path))
    except ManifestError as error:
        return Looked(None, [error])
    while len(found) < _MOST:
        try:
            return Looked(manifest_of(document, directory), found)
        except ManifestError as error:
            if any(str(one) == str(error) for one in found):
                break
            found.append(error)
            if not _mend(document, error):
                break
    return Looked(None, found)


def _mend(document: dict[str, Any], error: ManifestError) -> bool:
    """Take out, or replace, what an error is about; whether there was something to do."""
    path = _path(error.field or "")
    missing = _MISSING.search(str(error))
    if missing:
        path.append(missing[1])
    for place, step in enumerate(path):
        if step in _WHOLE:
            del path[place + 1 :]
            break
    while path and isinstance(path[-1], int):
        path.pop()  # of a list nothing is taken out by itself: the places of the others would change
    if not path:
        return False
    *above, last = path
    parent: Any = document
    try:
        for step in above:
            parent = parent[step]
        sound = _sound(document, above, str(last))
        if sound is None:
            del parent[last]
        else:
            parent[last] = sound
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _sound(document: dict[str, Any], above: _Path, key: str) -> Any:
    """A value of this key that nobody objects to; None where the key may be absent."""
    if key == "name":
        return f"unnamed_{above[-1]}" if above else "unnamed"
    if key == "point":
        taken = {one.get("point") for one in document["hooks"] if isinstance(one, dict)}
        return next((one for one in sorted(HOOK_POINTS) if one not in taken), None)
    required = not above or key in {"description", "input_schema"}
    return copy.deepcopy(_SOUND.get(key)) if required else None


def _path(field: str) -> _Path:
    return [name or int(number) for name, number in _STEP.findall(field)]
