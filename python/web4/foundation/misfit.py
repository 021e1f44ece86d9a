"""What is wrong with a value that does not fit its type: what it must be, and what it is (UX-4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from web4.foundation.visible import visible

if TYPE_CHECKING:
    import msgspec

_SHOWN: Final = 60
"""Characters of a value that are quoted."""
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_MISSING: Final = "Object missing required field `"
_UNKNOWN: Final = "Object contains unknown field `"


class Misfit(NamedTuple):
    """What does not fit.

    Args:
        field: Its dotted path, empty for the document as a whole.
        text: What it must be, and what it is, without the path.
    """

    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field} {self.text}" if self.field else self.text


def misfit(error: msgspec.ValidationError, document: Any, kind: Any) -> Misfit:
    """Say of an error of `msgspec.convert(document, kind)` what was wrong, in words for people.

    A type says in `Meta(extra={"words": …})` what a pattern means.
    """
    message, _, place = str(error).partition(" - at `")
    path = place.partition("`")[0].removeprefix("$")
    field = path.removeprefix(".")
    for begin, words in ((_MISSING, "is required"), (_UNKNOWN, "is no key of it")):
        if message.startswith(begin):
            inner = message.removeprefix(begin).partition("`")[0]
            return Misfit(f"{field}.{inner}" if field else inner, words)
    found = _at(path, document, kind)
    if found is None:
        return Misfit(field, f"is wrong: {message}")
    value, expected = found
    words = _expected(expected)
    return Misfit(field, f"must be {words}, and is {_shown(value)}" if words else f"is wrong: {message}")


def _at(path: str, document: Any, kind: Any) -> tuple[Any, Any] | None:
    """The value at a path and its type, None if the path cannot be followed."""
    import msgspec.inspect as typed  # noqa: PLC0415 - who makes no mistake does not pay for it

    steps = list(_STEP.finditer(path))
    if "".join(step.group() for step in steps) != path:
        return None
    value, at = document, typed.type_info(kind)
    for step in steps:
        name, index = step.groups()
        at = _without_metadata(at, within=True)
        try:
            if name is not None:
                value = value[name]
                at = next(one.type for one in at.fields if name in {one.encode_name, one.name})
            else:
                value = value[int(index)]
                at = at.item_types[int(index)] if hasattr(at, "item_types") else at.item_type
        except (LookupError, TypeError, AttributeError, StopIteration):
            return None
    return value, at


def _without_metadata(at: Any, *, within: bool = False) -> Any:
    """A type without what is said of it; `within` takes the one of a union that has parts."""
    while hasattr(at, "extra") and hasattr(at, "type"):
        at = at.type
    if within and hasattr(at, "types"):
        parts = (_without_metadata(one) for one in at.types)
        at = next((one for one in parts if hasattr(one, "fields") or hasattr(one, "item_type")), at)
    return at


def _expected(at: Any) -> str:
    """A type in words; empty if there are none for it."""
    if getattr(at, "extra", None) and "words" in at.extra:
        return str(at.extra["words"])
    at = _without_metadata(at)
    words = ""
    match type(at).__name__:
        case "LiteralType":
            words = " or ".join(repr(one) for one in at.values)
        case "StrType" if not at.pattern:
            words = _counted("text", "characters", at.min_length, at.max_length)
        case "IntType" | "FloatType" as name:
            bounds = [("above", at.gt), ("from", at.ge), ("below", at.lt), ("to", at.le)]
            told = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
            words = " ".join(["a whole number" if name == "IntType" else "a number", *told])
        case "VarTupleType" | "ListType" | "TupleType":
            least, most = getattr(at, "min_length", None), getattr(at, "max_length", None)
            words = _counted("a list", "items", least, most)
        case "BoolType":
            words = "true or false"
        case "StructType" | "DictType":
            words = "a table"
        case "UnionType":
            words = " or ".join(filter(None, map(_expected, at.types)))
    return words


def _counted(name: str, what: str, least: int | None, most: int | None) -> str:
    if least is not None and most is not None:
        return f"{name} of {least:,} to {most:,} {what}"
    if least == 1:
        return f"{name} that is not empty"
    if least is not None:
        return f"{name} of {least:,} {what} at least"
    return name if most is None else f"{name} of {most:,} {what} at most"


def _shown(value: Any) -> str:
    match value:
        case "":
            return "empty"
        case str():
            more = f"…', of {len(value):,} characters" if len(value) > _SHOWN else "'"
            return f"'{visible(value[:_SHOWN])}{more}"
        case None:
            return "nothing"
        case bool() | int() | float():
            return visible(repr(value).lower()[:_SHOWN])
        case list() | tuple():
            return f"a list of {len(value):,}"
    return "a table" if isinstance(value, dict) else f"a {type(value).__name__}"
