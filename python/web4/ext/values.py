"""Values in the types that the protocol has (EXT-14)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

_BINARY: Final = (bytes, bytearray, memoryview)
_PLAIN: Final = frozenset({str, int, float, bool, bytes, type(None)})


def plain(value: Any) -> Any:
    """The value as maps, lists, texts, numbers, bools, nulls and bytes.

    A datetime becomes a text: msgpack would have a timestamp for it, which the protocol refuses.

    Raises:
        ValueError: It holds something else, or itself.
    """
    if type(value) in _PLAIN:
        return value
    try:
        return msgspec.to_builtins(value, builtin_types=_BINARY, str_keys=True)
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def text(value: object) -> str:
    """The value as a text that UTF-8 can say; half a surrogate pair is escaped."""
    return str(value).encode("utf-8", "backslashreplace").decode()
