"""Where introduced peers are dialled: addresses that others told, looked at each time, and not too often (MESH-10)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import trio

from web4.mesh.registry.errors import AddressError
from web4.protocols.cip.meters import TokenBucket
from web4.rtt.transports.address import Address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.mesh.registry.peers_events import PeerEntry
    from web4.mesh.registry.told import ToldAddresses

    Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

MOST_ADDRESSES: Final = 4
"""Addresses of one introduced peer that are tried."""
MOST_PLACES: Final = 2
"""Addresses of one name that are tried."""
PER_SECOND: Final = 1.0
BURST: Final = 8
"""So many addresses of one introducer are tried at once, and then one a second: whoever they belong to."""
_RESOLVE_SECONDS: Final = 5.0
_INTRODUCERS: Final = 1_024
_REFUSALS: Final = 1_024


class IntroducedPlaces:
    """Says where introduced peers may be dialled now.

    Names are resolved here, and what is dialled are the addresses that were looked at (FETCH-4). All of a name's
    addresses have to be allowed: one that is not says that the name cannot be trusted with the others.

    Args:
        allowed: Which addresses may be dialled.
        reached: The host where an introducer is now: see `CipRuntime.reached`.
        resolve: Asks for the addresses of a name.
        clock: Where time comes from.
        emit: Gets `address_refused`: once for each address and reason, and when an introducer's share is used up.
    """

    def __init__(
        self,
        allowed: ToldAddresses,
        *,
        reached: Callable[[str], str | None],
        resolve: Resolve,
        clock: Clock,
        emit: Emitter,
    ) -> None:
        self._allowed = allowed
        self._reached = reached
        self._resolve = resolve
        self._clock = clock
        self._emit = emit
        self._shares: OrderedDict[str, TokenBucket] = OrderedDict()
        self._told: OrderedDict[tuple[str, ...], None] = OrderedDict()
        self._waiting: set[str] = set()
        """Introducers whose share is used up: somebody waits for more of it."""

    async def of(self, entry: PeerEntry, address: str) -> tuple[str, ...]:
        """Where to dial for one of the addresses of an introduced peer; nowhere if it is refused, or has no answer.

        Waits until the introducer has a share left. Each call uses some of it.
        """
        introducer = entry.told_by or entry.fingerprint
        await self._share(entry, introducer)
        where = Address.parse(address)
        assert where.port is not None
        try:
            with trio.fail_after(_RESOLVE_SECONDS):
                hosts = list(dict.fromkeys(await self._resolve(where.host, where.port)))
        except (OSError, UnicodeError, trio.TooSlowError):
            return ()
        reached = None if entry.told_by is None else self._reached(entry.told_by)
        try:
            for host in hosts:
                self._allowed.check(host, where.port, reached)
        except AddressError as error:
            self._refused(entry, address, error.code)
            return ()
        return tuple(str(Address("tcp", host, where.port)) for host in hosts[:MOST_PLACES])

    async def _share(self, entry: PeerEntry, introducer: str) -> None:
        share = self._shares.setdefault(introducer, TokenBucket(PER_SECOND, BURST))
        self._shares.move_to_end(introducer)
        if len(self._shares) > _INTRODUCERS:
            self._shares.popitem(last=False)
        while not share.take(self._clock.monotonic_ns()):
            wait_ms = share.retry_after_ms()
            if introducer not in self._waiting:
                self._waiting.add(introducer)
                self._emit(
                    "address_refused",
                    peer=entry.fingerprint,
                    introducer=entry.told_by,
                    code="too_often",
                    retry_after_ms=wait_ms,
                )
            await trio.sleep(wait_ms / 1_000)
        self._waiting.discard(introducer)

    def _refused(self, entry: PeerEntry, address: str, code: str) -> None:
        """Say it, but not each time that it is looked at."""
        key = (entry.fingerprint, address, code)
        if key in self._told:
            return
        self._told[key] = None
        if len(self._told) > _REFUSALS:
            self._told.popitem(last=False)
        self._emit(
            "address_refused",
            severity="warning",
            peer=entry.fingerprint,
            introducer=entry.told_by,
            address=address,
            code=code,
        )
