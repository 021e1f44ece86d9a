"""Which blobs a text names (JRN-8)."""

from __future__ import annotations

import re
from typing import Final

BLOB_NAME: Final = re.compile(rb"b3:[0-9a-f]{64}")
"""How a blob is named wherever it is: keeping one blob too many is harmless, one too few is not."""


def blob_names(text: bytes | None) -> set[str]:
    """The names of blobs that stand anywhere in a payload or a state."""
    if not text or b"b3:" not in text:
        return set()
    return {name.decode() for name in BLOB_NAME.findall(text)}
