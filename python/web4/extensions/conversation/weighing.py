"""How many values some msgpack holds, told before any of them is made: a byte can become sixty-four (EXT-24).

Four MiB of empty lists would be a quarter of a GiB in the node, and seconds of its time. Runs of numbers and of small
things are counted without a step for each.
"""

from __future__ import annotations

import re
from typing import Final

MAX_VALUES: Final = 200_000
"""Values in one field of a frame, the containers and keys among them."""

_WIDTHS: Final = (1, 2, 3, 5, 9)
_RUNS: Final = re.compile(
    rb"([\x00-\x9f\xc0\xc2\xc3\xe0-\xff]++)"  # by width: small numbers, nil, truth, heads of small containers
    rb"|((?:[\xcc\xd0].)++)"
    rb"|((?:[\xcd\xd1\xdc\xde]..)++)"
    rb"|((?:[\xca\xce\xd2\xdd\xdf].{4})++)"
    rb"|((?:[\xcb\xcf\xd3].{8})++)",
    re.DOTALL,
)
_LENGTHS: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4}
"""Bytes of the length of a text, of bytes, or of an extension type."""


def too_many_values(data: bytes | bytearray | memoryview) -> bool:
    """Whether it holds more than `MAX_VALUES`. Data that is no msgpack gets some answer."""
    size = len(data)
    if size <= MAX_VALUES:
        return False  # every value takes a byte at least
    position = count = 0
    while position < size:
        if (run := _RUNS.match(data, position)) is not None:
            end = run.end()
            assert run.lastindex is not None
            count += (end - position) // _WIDTHS[run.lastindex - 1]
            position = end
        else:
            count += 1
            position += _length_at(data, position)
        if count > MAX_VALUES:
            return True
    return False


def _length_at(data: bytes | bytearray | memoryview, position: int) -> int:
    """Bytes of the text, bytes or extension type that begins there."""
    head = data[position]
    if head & 0xE0 == 0xA0:
        return 1 + (head & 0x1F)
    if (width := _LENGTHS.get(head)) is not None:
        length = int.from_bytes(data[position + 1 : position + 1 + width], "big")
        return 1 + width + length + (0xC7 <= head <= 0xC9)
    if 0xD4 <= head <= 0xD8:
        return 2 + (1 << (head - 0xD4))
    return 1
