"""What a URI must look like, checked on its raw text before anything parses or resolves it (FETCH-5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urljoin

import idna

from web4.protocols.lip.errors import AddressRefused

if TYPE_CHECKING:
    from web4.foundation.addresses import Address

MAX_URI: Final = 2 * 1024
PORTS: Final = {"http": 80, "https": 443}
_URI: Final = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.IGNORECASE | re.DOTALL)
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})", re.ASCII)
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPED: Final = "%/:@!$&'()*+,;=~-._?"


@dataclass(frozen=True, slots=True)
class FetchUri:
    """An absolute http or https URI as this node writes it: one spelling each, without fragment.

    Args:
        scheme: `http` or `https`.
        host: Lowercase ASCII; an address has its one spelling, without brackets.
        port: 1 to 65535. Which are allowed is for whoever fetches: exceptions are configuration.
        target: Path and query, at least `/`.
        address: The host, if it is an address.
    """

    scheme: str
    host: str
    port: int
    target: str
    address: Address | None

    @property
    def authority(self) -> str:
        """What the Host field says: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if PORTS[self.scheme] == self.port else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: what has one robots.txt."""
        return f"{self.scheme}://{self.authority}"

    @property
    def text(self) -> str:
        """The whole URI."""
        return self.origin + self.target


def parse_uri(raw: str) -> FetchUri:
    """Read an absolute URI.

    Raises:
        AddressRefused: `uri_refused`. The text says what is wrong and quotes nothing.
    """
    _check_characters(raw)
    match = _URI.fullmatch(raw)
    if match is None:
        raise _refused("not an absolute http or https URI")
    scheme, authority, path, query = match[1].lower(), match[2], match[3], match[4] or ""
    if "@" in authority:
        raise _refused("has user info")
    host_text, port = _split_authority(authority, scheme)
    host, address = _read_host(host_text)
    target = _without_dots(_spelled(path)) + _spelled(query)
    return FetchUri(scheme=scheme, host=host, port=port, target=target, address=address)


def join_uri(base: FetchUri, location: str) -> FetchUri:
    """Where a redirect of `base` leads.

    Raises:
        AddressRefused: `uri_refused`: as for any new URI (FETCH-6).
    """
    _check_characters(location)  # before the library, which drops some of what is refused here
    return parse_uri(urljoin(base.text, location))


def _check_characters(raw: str) -> None:
    if not raw or len(raw) > MAX_URI:
        raise _refused(f"empty, or longer than {MAX_URI} characters")
    for character in raw:
        code = ord(character)
        if code <= 0x20 or 0x7F <= code <= 0xA0 or character.isspace() or 0xD800 <= code <= 0xDFFF:
            raise _refused("has a control character or white space")
        if character == "\\":
            raise _refused("has a backslash")


def _spelled(part: str) -> str:
    """A path or query in one spelling: escapes where they are needed and nowhere else, so that no rule is evaded."""

    def plain(escape: re.Match[str]) -> str:
        character = chr(int(escape[1], 16))
        return character if character in _UNRESERVED else escape[0].upper()

    return _ESCAPE.sub(plain, quote(part, safe=_ESCAPED))


def _without_dots(path: str) -> str:
    """An absolute path without `.` and `..` (RFC 3986, 5.2.4): what robots.txt and the server both see."""
    kept: list[str] = []
    *segments, last = path.split("/")[1:] or [""]
    for segment in segments:
        if segment == "..":
            kept[-1:] = []
        elif segment != ".":
            kept.append(segment)
    if last in {".", ".."}:
        kept[-1:] = [] if last == ".." else kept[-1:]
        last = ""
    return "/" + "/".join([*kept, last])


def _split_authority(authority: str, scheme: str) -> tuple[str, int]:
    if authority.startswith("["):
        host, bracket, rest = authority.partition("]")
        host += bracket
    else:
        host, colon, rest = authority.partition(":")
        rest = colon + rest
    if not rest:
        return host, PORTS[scheme]
    if not rest.startswith(":") or _PORT.fullmatch(rest[1:]) is None or int(rest[1:]) > 0xFFFF:
        raise _refused("has a port that is no number from 1 to 65535")
    return host, int(rest[1:])


def _read_host(text: str) -> tuple[str, Address | None]:
    if text.startswith("["):
        inner = text[1:-1]
        if not text.endswith("]") or "%" in inner:
            raise _refused("has a zone id, or a bracket that is not closed")
        try:
            six = IPv6Address(inner)
        except AddressValueError:
            raise _refused("has brackets around what is no IPv6 address") from None
        return str(six), six
    if "%" in text:
        raise _refused("has a host with escapes or a zone id")
    host = _as_ascii(text)
    labels = host.split(".")
    last = labels[-1] or (labels[-2] if len(labels) > 1 else "")
    if _NUMBER.fullmatch(last):
        # Whatever ends in a number is an address to some resolver: only the one plain spelling is let through.
        try:
            four = IPv4Address(host)
        except AddressValueError:
            raise _refused("has a numeric host that is not plain dotted decimal") from None
        if str(four) != text:
            raise _refused("has a numeric host that is not plain dotted decimal")
        return host, four
    labels = labels[:-1] if not labels[-1] else labels
    if not labels or len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refused("has a host that is no name")
    return ".".join(labels), None


def _as_ascii(text: str) -> str:
    if text.isascii():
        return text.lower()
    try:
        # Full-width digits and dots become plain ones here, so the checks that follow see what a resolver would.
        return idna.encode(text, uts46=True, transitional=False).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise _refused("has a host that is no international name") from None


def _refused(what: str) -> AddressRefused:
    return AddressRefused(f"the URI {what}", code="uri_refused", field="uri")
