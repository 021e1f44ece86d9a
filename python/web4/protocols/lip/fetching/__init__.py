"""The fetcher (section 13): one URI at a time, from its spelling to a record with provenance."""

from web4.protocols.lip.fetching.dialing import system_dial, system_resolve
from web4.protocols.lip.fetching.exchange import PinnedTransport
from web4.protocols.lip.fetching.fetcher import Fetcher, open_fetcher
from web4.protocols.lip.fetching.options import FetchException, FetchOptions
from web4.protocols.lip.fetching.record import Fetched, FetchRecord, Hop, Trail

__all__ = [
    "FetchException",
    "FetchOptions",
    "FetchRecord",
    "Fetched",
    "Fetcher",
    "Hop",
    "PinnedTransport",
    "Trail",
    "open_fetcher",
    "system_dial",
    "system_resolve",
]
