"""What makes two claims the same claim (KNOW-1)."""

from __future__ import annotations

import unicodedata

from web4.foundation.digest import blake3_hex, canonical


def normal_text(text: str) -> str:
    """Give `text` in NFC, trimmed, with each run of white space as one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def claim_key(domain: str, statement: str) -> str:
    """Give the key of a claim: BLAKE3-256 of the canonical {`domain`, `statement`}, in hex (KNOW-1).

    Raises:
        ValueError: One of them has no canonical form: it holds a lone surrogate.
    """
    return blake3_hex(canonical({"domain": domain.lower(), "statement": normal_text(statement)}))
