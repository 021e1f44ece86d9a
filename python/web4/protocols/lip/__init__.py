"""LIP, learning from the internet (sections 12 and 13): fetches, evidence, and text that stays data."""

from web4.protocols.lip.errors import (
    AddressRefused,
    ConstraintRefused,
    FetchError,
    FetchFailed,
    FetchTimeout,
    RobotsRefused,
    TooLarge,
)
from web4.protocols.lip.fetch_lane import FetchLane
from web4.protocols.lip.fetching import Fetcher, FetchException, FetchOptions, FetchRecord, open_fetcher
from web4.protocols.lip.runtime import LipRuntime
from web4.protocols.lip.untrusted import Origin, UntrustedText

__all__ = [
    "AddressRefused",
    "ConstraintRefused",
    "FetchError",
    "FetchException",
    "FetchFailed",
    "FetchLane",
    "FetchOptions",
    "FetchRecord",
    "FetchTimeout",
    "Fetcher",
    "LipRuntime",
    "Origin",
    "RobotsRefused",
    "TooLarge",
    "UntrustedText",
    "open_fetcher",
]
