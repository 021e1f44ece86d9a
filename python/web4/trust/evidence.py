"""The envelopes that trust events cite, kept under their BLAKE3."""

from __future__ import annotations

from collections import Counter


class EvidenceStore:
    """Envelopes kept as evidence, in memory and bounded.

    What does not fit is not kept, and counted in `refused`: an event cites the digest either way, and whoever
    floods the store cannot push out what it held before. The journal's blobs (JRN-8) will take this place.

    Args:
        max_bytes: Bytes held in all.
        max_bytes_per_peer: Bytes held of one peer, so that one alone cannot use up what there is (LIM-1).
    """

    def __init__(self, *, max_bytes: int = 16 * 1024 * 1024, max_bytes_per_peer: int = 1024 * 1024) -> None:
        if max_bytes <= 0 or max_bytes_per_peer <= 0:
            raise ValueError("both bounds must be positive")
        self._max_bytes = max_bytes
        self._max_bytes_per_peer = max_bytes_per_peer
        self._of_peer: Counter[str] = Counter()
        self._held: dict[str, bytes] = {}
        self._bytes = 0
        self.refused = 0

    def put(self, peer: str, blake3: str, envelope: bytes) -> bool:
        """Keep `envelope`, evidence against `peer`, under its digest; say whether it is held."""
        if blake3 in self._held:
            return True
        size = len(envelope)
        if self._bytes + size > self._max_bytes or self._of_peer[peer] + size > self._max_bytes_per_peer:
            self.refused += 1
            return False
        self._held[blake3] = envelope
        self._bytes += size
        self._of_peer[peer] += size
        return True

    def get(self, blake3: str) -> bytes | None:
        """The envelope under this digest, or None when it is not held."""
        return self._held.get(blake3)
