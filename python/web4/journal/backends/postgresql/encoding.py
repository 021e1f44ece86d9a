"""Values as PostgreSQL's binary protocol carries them: no text, no quoting, no encoding but UTF-8."""

from __future__ import annotations

import struct
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg.pq.abc import PGresult

_INT8_OID: Final = 20
_BYTEA_OID: Final = 17
_BOOL_OID: Final = 16
_TEXT_OID: Final = 25
_ARRAY: Final = struct.Struct(">iiiii")  # dimensions, whether nulls occur, element type, length, lower bound
_EMPTY: Final = struct.Struct(">iii")
_INT8: Final = struct.Struct(">q")
_LENGTH: Final = struct.Struct(">i")
_NULL: Final = _LENGTH.pack(-1)

Value = TypeVar("Value")


def int8(number: int) -> bytes:
    """A bigint."""
    return _INT8.pack(number)


def boolean(truth: bool) -> bytes:
    """A boolean."""
    return b"\x01" if truth else b"\x00"


def text(words: str) -> bytes:
    """A text, or the bytes of one."""
    return words.encode()


def int8_array(numbers: Sequence[int]) -> bytes:
    """A bigint[]."""
    count = len(numbers)
    if not count:
        return _EMPTY.pack(0, 0, _INT8_OID)
    flat = [8] * (2 * count)
    flat[1::2] = numbers
    return _ARRAY.pack(1, 0, _INT8_OID, count, 1) + struct.pack(">" + "iq" * count, *flat)


def bytea_array(items: Sequence[bytes | None]) -> bytes:
    """A bytea[]; None is null."""
    return _array(_BYTEA_OID, items)


def text_array(items: Sequence[str | None]) -> bytes:
    """A text[]; None is null."""
    return _array(_TEXT_OID, [None if item is None else item.encode() for item in items])


def boolean_array(items: Sequence[bool]) -> bytes:
    """A boolean[]."""
    return _array(_BOOL_OID, [boolean(item) for item in items])


def _array(oid: int, items: Sequence[bytes | None]) -> bytes:
    if not items:
        return _EMPTY.pack(0, 0, oid)
    head = _ARRAY.pack(1, int(None in items), oid, len(items), 1)
    if None in items:
        return head + b"".join(_NULL if item is None else _LENGTH.pack(len(item)) + item for item in items)
    # Without a step of the interpreter for each of what may be thousands.
    some = cast("Sequence[bytes]", items)
    return head + b"".join(chain.from_iterable(zip(map(_LENGTH.pack, map(len, some)), some, strict=True)))


def read_int(data: bytes | None) -> int:
    """An integer of any width; a null is 0."""
    return int.from_bytes(data or b"", "big", signed=True)


def read_text(data: bytes | None) -> str:
    """A text; a null is empty."""
    return (data or b"").decode()


def read_bool(data: bytes | None) -> bool:
    """A boolean; a null is false."""
    return data == b"\x01"


def read_bytes(data: bytes | None) -> bytes:
    """A bytea; a null is empty."""
    return data or b""


def column(result: PGresult, number: int, read: Callable[[bytes | None], Value]) -> list[Value]:
    """One column of a result."""
    get = result.get_value
    return [read(get(row, number)) for row in range(result.ntuples)]


def rows(result: PGresult) -> list[list[bytes | None]]:
    """All rows of a result as they came."""
    get, columns = result.get_value, range(result.nfields)
    return [[get(row, number) for number in columns] for row in range(result.ntuples)]
