"""Text of others on one line, with nothing in it that moves a cursor, changes a colour or hides (UX-7)."""

from __future__ import annotations

import re
from typing import Final

# C0 and C1 controls, and what turns the direction of text or hides in it.
_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: object) -> str:
    """`text` on one line, with control characters written out (UX-7)."""
    return _CONTROL.sub(_escaped, str(text))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
