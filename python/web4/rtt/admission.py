"""Who may try to open a carrier: limits per address and on everything half-open (section 15).

Pure: time and the state of a carrier come in with the call. An address is charged for what happens before a key is
proven, never an identity that somebody named (RTT-9).
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.rtt.options import Options

MAX_ADDRESSES = 4096
"""Addresses whose rate is remembered; the one that was quiet for longest is forgotten first."""


def network_of(address: str) -> str:
    """What an address counts as: IPv6 by its /64, which one subscriber has whole; anything else by itself.

    An IPv4 address in IPv6 clothes, as a socket for both shows it, is the IPv4 address.
    """
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    # A scope belongs to a link of this machine, and tells link-local neighbours apart.
    network = ipaddress.IPv6Network((int(parsed), 64), strict=False)
    return f"{network}%{parsed.scope_id}" if parsed.scope_id else str(network)


@dataclass(slots=True)
class _HalfOpen:
    address: str
    has_client_hello: Callable[[], bool]
    evict: Callable[[], None]


class Admission:
    """Counts what has not opened yet, and makes room by ending the oldest carrier that says nothing."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._half_open: OrderedDict[int, _HalfOpen] = OrderedDict()
        self._per_address: Counter[str] = Counter()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._next = 0
        self.hits: Counter[str] = Counter()
        """How often each limit was hit, by its name."""

    @property
    def half_open(self) -> int:
        """Carriers that have been accepted and have not opened or ended."""
        return len(self._half_open)

    def arrive(
        self, address: str, now: float, *, has_client_hello: Callable[[], bool], evict: Callable[[], None]
    ) -> int | None:
        """Admit a new carrier of `address` at `now` (seconds) to the opening.

        `evict` of another carrier may be called, from here, to make room. Returns a token for `leave`, or None when
        the new carrier must be closed without an answer.
        """
        address = network_of(address)
        if not self._within_rate(address, now):
            self.hits["carriers_per_address"] += 1
            return None
        if self._per_address[address] >= self._options.half_open_per_address:
            self.hits["half_open_per_address"] += 1
            if not self._evict_oldest(lambda entry: entry.address == address):
                return None
        if len(self._half_open) >= self._options.half_open:
            self.hits["half_open"] += 1
            if not self._evict_oldest(lambda _: True):
                return None
        token = self._next
        self._next += 1
        self._half_open[token] = _HalfOpen(address, has_client_hello, evict)
        self._per_address[address] += 1
        return token

    def leave(self, token: int) -> None:
        """The carrier has opened or ended."""
        entry = self._half_open.pop(token, None)
        if entry is not None:
            self._per_address[entry.address] -= 1
            if not self._per_address[entry.address]:
                del self._per_address[entry.address]

    def _evict_oldest(self, concerned: Callable[[_HalfOpen], bool]) -> bool:
        for token, entry in self._half_open.items():
            if concerned(entry) and not entry.has_client_hello():
                self.leave(token)
                entry.evict()
                return True
        return False

    def _within_rate(self, address: str, now: float) -> bool:
        burst = self._options.carriers_burst
        level, since = self._buckets.pop(address, (float(burst), now))
        level = min(burst, level + (now - since) * self._options.carriers_per_second)
        admitted = level >= 1
        self._buckets[address] = (level - 1 if admitted else level, now)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return admitted
