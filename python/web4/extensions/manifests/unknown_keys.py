"""Keys that a typed document does not have, and what was probably meant (EXT-5, UX-36)."""

from __future__ import annotations

import difflib
import types
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import msgspec


class UnknownKey(NamedTuple):
    """A key that is not known.

    Args:
        field: Its dotted path.
        nearest: The known key that is spelled most alike, None if none is near.
    """

    field: str
    nearest: str | None

    def __str__(self) -> str:
        meant = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        return f"there is no key {self.field!r}{meant}"


def nearest(word: str, known: tuple[str, ...] | frozenset[str] | list[str]) -> str | None:
    """The known word that is spelled most alike, None if none is near."""
    found = difflib.get_close_matches(word[:128], sorted(known), n=1, cutoff=0.6)
    return found[0] if found else None


def first_unknown_key(document: Any, kind: type[msgspec.Struct], at: str = "") -> UnknownKey | None:
    """The first key in `document` that structs of `kind`, and those inside it, do not have.

    Values of another type than a struct's are not looked into: `msgspec.convert` says what is wrong with them.
    """
    if not isinstance(document, dict):
        return None
    fields = {one.encode_name: one.type for one in msgspec.structs.fields(kind)}
    for key, value in document.items():
        field = f"{at}.{key}" if at else str(key)
        if key not in fields:
            return UnknownKey(field[:200], nearest(str(key), list(fields)))
        struct = _struct_of(fields[key])
        if struct is None:
            continue
        items = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, item in items:
            found = first_unknown_key(item, struct, field if index is None else f"{field}[{index}]")
            if found is not None:
                return found
    return None


def _struct_of(declared: Any) -> type[msgspec.Struct] | None:
    """The struct that a field holds, alone or as items of an array."""
    if isinstance(declared, type) and issubclass(declared, msgspec.Struct):
        return declared
    if get_origin(declared) in {Annotated, Union, types.UnionType, tuple, list}:
        for inner in get_args(declared):
            found = _struct_of(inner)
            if found is not None:
                return found
    return None


def field_of(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """What msgspec found wrong, and the dotted path of the field if it names one."""
    message, _, place = str(error).partition(" - at `")
    place = place.partition("`")[0]
    return message, place.removeprefix("$").removeprefix(".") or None
