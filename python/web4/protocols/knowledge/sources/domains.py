"""The registrable domain of an address: what a source is known by (LIP-2, KNOW-3).

What a domain is changes with the Public Suffix List. So it is worked out where a message comes in, and recorded: the
lane's logic never asks here (WEB-2).
"""

from __future__ import annotations

import ipaddress
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

_MOST_HOST: Final = 255
"""Characters of a host name; DNS has none that is longer."""


def registrable_domain(host: str) -> str | None:
    """Give the registrable domain of a host name, by the Public Suffix List with its private part.

    An address, a public suffix and a name under an unknown suffix stand for themselves. None if it is no host.
    """
    if len(host) > _MOST_HOST:  # before it costs anything: the list is asked about each of its labels
        return None
    name = host.strip("[]").rstrip(".").lower()
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        name = name.encode("idna").decode("ascii")
    except UnicodeError:  # an empty label, or one that is too long
        return None
    if not name or " " in name:
        return None
    return _suffixes().privatesuffix(name) or name


def source_domain(uri: str) -> str | None:
    """Give the registrable domain of an absolute http or https URI; None of anything else."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not host:
        return None
    return registrable_domain(host)


@cache
def _suffixes() -> PublicSuffixList:
    """Read the list when it is first needed: importing this room costs nothing."""
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415 - it reads a file

    return PublicSuffixList(accept_unknown=False)
