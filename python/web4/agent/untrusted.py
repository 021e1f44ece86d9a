"""What a message says, with every text that somebody else wrote marked as such (LIP-7, LOOP-1)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from web4.foundation.codec import ENCODER
from web4.protocols.lip.untrusted import Origin, UntrustedText

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.protocols.cip.actions import Delivery


def untrusted(payload: msgspec.Struct, origin: Origin) -> Mapping[str, Any]:
    """Give the fields of a payload, every free text in them as `UntrustedText`.

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


def origin_of(delivery: Delivery) -> Origin:
    """Where the text of a message came from."""
    return Origin(kind="peer", source=delivery.peer, digest=delivery.digest, at_ms=delivery.received_ms)


def _wrapped(value: Any, words: frozenset[str], origin: Origin) -> Any:
    match value:
        case str():
            return value if value in words else UntrustedText(text=value, origin=origin)
        case dict():
            return UntrustedText(text=ENCODER.encode(value).decode(), origin=origin)
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
