"""The sessions that a node serves, by peer: which of them to send over, and which gives way (HS-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from web4.protocols.cip.link import Link


class Links:
    """Every session that is being served, in the order in which serving began."""

    def __init__(self) -> None:
        self._of: dict[str, list[Link]] = {}

    def __len__(self) -> int:
        return sum(len(links) for links in self._of.values())

    def add(self, link: Link) -> None:
        """A session is being served."""
        self._of.setdefault(link.rtt.peer, []).append(link)

    def remove(self, link: Link) -> None:
        """It no longer is."""
        links = self._of[link.rtt.peer]
        links.remove(link)
        if not links:
            del self._of[link.rtt.peer]

    def every(self) -> list[Link]:
        """All of them."""
        return [link for links in self._of.values() for link in links]

    def of(self, peer: str) -> list[Link]:
        """Those with a peer, oldest first."""
        return list(self._of.get(peer, ()))

    def peers(self, *, up: bool) -> list[str]:
        """Peers with an established session; with `up` only those whose session has a carrier now."""
        return [
            peer
            for peer, links in self._of.items()
            if any(link.established and (not up or link.rtt.state == "open") for link in links)
        ]

    def best(self, peer: str) -> Link | None:
        """The session over which to send: an established one, of two the one that HS-7 keeps, else the newest."""
        links = self._of.get(peer, ())
        if len(links) == 1:  # mostly
            return links[0] if links[0].established else None
        established = [link for link in links if link.established]
        kept = [link for link in established if not any(link.yields_to(other) for other in established)]
        return kept[-1] if kept else None

    def duplicates(self, peer: str) -> list[Link]:
        """The sessions that give way to another one of the same peer."""
        links = self._of.get(peer, ())
        return [one for one in links if any(other.established and one.yields_to(other) for other in links)]
