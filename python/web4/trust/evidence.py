"""The envelopes that trust events cite, kept under their BLAKE3."""

from __future__ import annotations

from collections import Counter, deque


class EvidenceStore:
    """Envelopes kept as evidence, bounded: in memory, or on their way into a journal's blobs.

    What does not fit is not kept, and counted in `refused`: an event cites the digest either way, and whoever
    floods the store cannot push out what it held before.

    Args:
        max_bytes: Bytes held in all.
        max_bytes_per_peer: Bytes held of one peer, so that one alone cannot use up what there is (LIM-1).
        blobs: What is put here goes on into blobs (JRN-8), and is held only until `gone` says that it is there. The
            bounds count it all the same, and what `remember` says was kept before.
    """

    def __init__(
        self,
        *,
        max_bytes: int = 16 * 1024 * 1024,
        max_bytes_per_peer: int = 1024 * 1024,
        blobs: bool = False,
    ) -> None:
        if max_bytes <= 0 or max_bytes_per_peer <= 0:
            raise ValueError("both bounds must be positive")
        self._max_bytes = max_bytes
        self._max_bytes_per_peer = max_bytes_per_peer
        self._blobs = blobs
        self._of_peer: Counter[str] = Counter()
        self._held: dict[str, bytes] = {}
        self._leaving: dict[str, deque[str]] = {}
        self._needed: Counter[str] = Counter()
        """Of how many peers an envelope is still on its way."""
        self._bytes = 0
        self.refused = 0

    def room(self, peer: str, size: int) -> bool:
        """Whether `size` bytes more, evidence against `peer`, could be kept."""
        return (
            self._bytes + size <= self._max_bytes and self._of_peer[peer] + size <= self._max_bytes_per_peer
        )

    def put(self, peer: str, blake3: str, envelope: bytes) -> bool:
        """Keep `envelope`, evidence against `peer`, under its digest; say whether it is held."""
        waiting = self._leaving.get(peer, ())
        if blake3 in self._held and (blake3 in waiting or not self._blobs):
            return True  # another peer's way into blobs may be later than the event that cites this
        size = len(envelope)
        if not self.room(peer, size):
            self.refused += 1
            return False
        self._held[blake3] = envelope
        self._bytes += size
        self._of_peer[peer] += size
        if self._blobs:
            self._leaving.setdefault(peer, deque()).append(blake3)
            self._needed[blake3] += 1
        return True

    def get(self, blake3: str) -> bytes | None:
        """The envelope under this digest, or None when it is not held."""
        return self._held.get(blake3)

    def remember(self, peer: str, size: int) -> None:
        """Count bytes that were kept of a peer before this store was made."""
        self._of_peer[peer] += size
        self._bytes += size

    def leaving(self, peer: str) -> tuple[str, bytes] | None:
        """The oldest envelope of a peer, and its digest, that has to become a blob."""
        waiting = self._leaving.get(peer)
        return (waiting[0], self._held[waiting[0]]) if waiting else None

    def gone(self, peer: str) -> None:
        """Say that what `leaving` gave is a blob."""
        waiting = self._leaving[peer]
        blake3 = waiting.popleft()
        self._needed[blake3] -= 1
        if not self._needed[blake3]:
            del self._held[blake3], self._needed[blake3]
        if not waiting:
            del self._leaving[peer]
