"""Text from a peer or the web: data with an origin, never an instruction (LIP-7, LOOP-1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from web4.foundation.codec import ENCODER

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, repr=False)
class UntrustedText:
    """Text that somebody else wrote.

    It is no `str` on purpose: put into a prompt or a log by accident, it shows its origin and length only. Who needs
    the words says so, by `.text` or `.json()`, and passes them on as data: in the user's role, never as instructions.

    Args:
        text: The words.
        origin: Whose: `peer:<fingerprint>`, or a URI.
    """

    text: str
    origin: str

    def json(self) -> Any:
        """What the text says as JSON: objects of a message come as their JSON text.

        Raises:
            ValueError: It is no JSON (msgspec's errors are among them).
        """
        return msgspec.json.decode(self.text)

    def __len__(self) -> int:
        return len(self.text)

    def __repr__(self) -> str:
        return f"<{len(self.text)} characters of untrusted text from {self.origin}>"

    __str__ = __repr__


def untrusted(payload: msgspec.Struct, origin: str) -> Mapping[str, Any]:
    """The fields of a payload, every free text in them as `UntrustedText`.

    What the schema limits to words of ours stays as it is: enums, numbers, truth values. An object that the peer
    filled as it liked is the text of its JSON. A field that is absent is left out.
    """
    words = _own_words(type(payload))
    found = {}
    for name in payload.__struct_fields__:
        value = getattr(payload, name)
        if value is not UNSET:
            found[name] = _wrapped(value, words[name], origin)
    return found


def _wrapped(value: Any, words: frozenset[str], origin: str) -> Any:
    match value:
        case str():
            return value if value in words else UntrustedText(value, origin)
        case dict():
            return UntrustedText(ENCODER.encode(value).decode(), origin)
        case list() | tuple():
            return tuple(_wrapped(one, words, origin) for one in value)
        case msgspec.Struct():
            return untrusted(value, origin)
        case _:
            return value


@cache
def _own_words(payload: type[msgspec.Struct]) -> dict[str, frozenset[str]]:
    """The words that each field's schema spells out."""
    info = msgspec.inspect.type_info(payload)
    assert isinstance(info, msgspec.inspect.StructType)
    return {field.name: frozenset(_literals(field.type)) for field in info.fields}


def _literals(info: msgspec.inspect.Type) -> set[str]:
    match info:
        case msgspec.inspect.LiteralType(values=values):
            return {value for value in values if isinstance(value, str)}
        case msgspec.inspect.UnionType(types=types):
            return set().union(*map(_literals, types))
        case msgspec.inspect.VarTupleType(item_type=item) | msgspec.inspect.ListType(item_type=item):
            return _literals(item)
        case msgspec.inspect.Metadata(type=inner):
            return _literals(inner)
        case _:
            return set()
