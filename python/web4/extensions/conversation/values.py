"""What a worker may say in a field of its own choosing: JSON values and bytes, of bounded depth (EXT-14, EXT-17)."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

import msgspec

from web4.extensions.conversation.weighing import MAX_VALUES, too_many_values

MAX_DEPTH: Final = 64
"""Containers within containers."""

_FINE: Final = frozenset({str, int, bool, type(None), bytes})
_KNOWN: Final = _FINE | {float, list, dict}
_NESTED: Final = frozenset({list, dict})
_OUR_NESTED: Final = _NESTED | {tuple}
_OURS: Final = _KNOWN | _OUR_NESTED | {bytearray, memoryview}


class UnfitValueError(Exception):
    """What came is no JSON value. `str()` says why, without contents."""


def _refuse(code: int, _data: memoryview) -> Any:
    raise UnfitValueError(f"a value of the msgpack extension type {code}")


_DECODER: Final = msgspec.msgpack.Decoder(ext_hook=_refuse)


def decode_value(data: msgspec.Raw | bytes) -> Any:
    """Read a field.

    Raises:
        UnfitValueError: It holds an extension type, a timestamp, a number that is none, a key that is no text, text
            that is not UTF-8, is nested deeper than `MAX_DEPTH`, or holds more than `MAX_VALUES`.
    """
    if len(data) > MAX_VALUES and too_many_values(memoryview(data)):
        raise UnfitValueError(f"more than {MAX_VALUES} values")
    try:
        value = _DECODER.decode(data)
    except (ValueError, RecursionError, TypeError) as error:  # TypeError: a key that cannot be one
        raise UnfitValueError(str(error)[:200]) from None
    kind = type(value)
    if kind not in _FINE:
        _check([value])
    return value


def _check(level: list[Any]) -> None:
    """Look at all values of one depth together: what few types they have is found without a step per value."""
    for _ in range(MAX_DEPTH + 1):
        nested: list[Any] = []
        kinds = set(map(type, level))
        if not kinds <= _KNOWN:
            raise UnfitValueError(f"a value of type {sorted(kind.__name__ for kind in kinds - _KNOWN)[0]}")
        if float in kinds and not all(isfinite(one) for one in level if type(one) is float):
            raise UnfitValueError("a number that is not finite")
        if not kinds & _NESTED:
            return
        for one in level:
            if type(one) is list:
                nested += one
            elif type(one) is dict:
                if set(map(type, one)) - {str}:
                    raise UnfitValueError("a key that is no text")
                nested += one.values()
        level = nested
    raise UnfitValueError(f"nested deeper than {MAX_DEPTH}")


def unfit_argument(value: Any) -> str | None:
    """Why something of this program's own cannot be the arguments of a call; None if it can (EXT-14).

    What msgpack would say in a way of its own (a timestamp, a number that is none, a key that is no text) is refused
    here, so that no worker has to make sense of it.
    """
    if type(value) is dict:  # nearly always a few texts and numbers
        for key, one in value.items():
            if type(key) is not str or type(one) not in _FINE:
                break
        else:
            return None
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        nested: list[Any] = []
        kinds = set(map(type, level))
        if not kinds <= _OURS:
            return f"a value of type {sorted(kind.__name__ for kind in kinds - _OURS)[0]}"
        if float in kinds and not all(isfinite(one) for one in level if type(one) is float):
            return "a number that is not finite"
        if not kinds & _OUR_NESTED:
            return None
        for one in level:
            kind = type(one)
            if kind is dict:
                if not all(type(key) is str for key in one):
                    return "a key that is no text"
                nested += one.values()
            elif kind is list or kind is tuple:
                nested += one
        level = nested
    return f"values nested deeper than {MAX_DEPTH}"


def depth_of(value: Any) -> int:
    """How deep a value is nested: 0 for a scalar, 1 for a container of scalars."""
    depth = 0
    level = [value]
    while level := [one for one in level if type(one) in _NESTED]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if type(one) is dict else one)]
    return depth
