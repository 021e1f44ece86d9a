"""The address of a transport: a scheme, and what that scheme makes of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from web4.rtt.errors import TransportUnavailableError


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed transport address, such as `tcp://127.0.0.1:7440`, `unix:///run/web4/a.sock` or `memory://a`."""

    scheme: str
    host: str = ""
    port: int | None = None
    path: str = ""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse a URL.

        Raises:
            TransportUnavailableError: `bad_address` when it is none.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise TransportUnavailableError(
                f"{url!r} is not an address: {error}", code="bad_address"
            ) from None
        if not parts.scheme or parts.query or parts.fragment or parts.username is not None:
            raise TransportUnavailableError(
                f"{url!r} is not an address: write tcp://host:port or unix:///path", code="bad_address"
            )
        return cls(parts.scheme, parts.hostname or "", port, parts.path)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"
