"""How a fetch fails (section 21). Texts name the rule and the host, never a path or a query: those may hold secrets."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error

_NOTHING_SENT = "Refused; no packet was sent to it."


class FetchError(Web4Error):
    """A fetch that did not succeed. Nothing of the body is kept."""


class AddressRefused(FetchError):  # noqa: N818 - the name is the specification's
    """The URI, or what its name stands for, is not one that this node may go to (FETCH-3 to FETCH-6)."""

    codes = (
        ErrorCode("address_not_public", "An address of the host is not public (FETCH-3).", _NOTHING_SENT),
        ErrorCode("uri_refused", "The URI is not spelled as FETCH-5 wants it.", _NOTHING_SENT),
        ErrorCode("port_refused", "Another port than 80 and 443 (FETCH-5).", _NOTHING_SENT),
        ErrorCode(
            "peer_mismatch", "The socket's peer is not the checked address (FETCH-4).", "Closed unused."
        ),
        ErrorCode("downgrade_refused", "A redirect from https to http (FETCH-6).", "Not followed."),
    )


class RobotsRefused(FetchError):  # noqa: N818 - the name is the specification's
    """The host does not want it to be fetched, or did not say (FETCH-7)."""

    codes = (
        ErrorCode("robots_disallowed", "robots.txt disallows it for `web4`.", "Not fetched."),
        ErrorCode(
            "robots_unreachable",
            "robots.txt could not be had, or not be read.",
            "Not fetched; asked again after a minute.",
        ),
        ErrorCode("robots_too_large", "robots.txt is longer than 500 KiB.", "Not fetched."),
        ErrorCode("crawl_delay", "robots.txt asks for a longer pause than is kept.", "Not fetched."),
    )


class ConstraintRefused(FetchError):  # noqa: N818 - the name is the specification's
    """A constraint of the request does not hold (FETCH-2)."""

    codes = (
        ErrorCode("unknown_constraint", "A constraint that this node does not know.", _NOTHING_SENT),
        ErrorCode("domain_refused", "The host is outside the domain that was named.", _NOTHING_SENT),
        ErrorCode("personal_data", "The body holds personal data.", "The body is dropped, not stored."),
    )


class TooLarge(FetchError):  # noqa: N818 - the name is the specification's
    """More than a limit of FETCH-8 allows; `field` says of what."""

    codes = (
        ErrorCode("too_large", "Headers, body, expansion or text exceed their limit.", "Cut off, dropped."),
    )


class FetchTimeout(FetchError):  # noqa: N818 - the name is the specification's
    """A time of FETCH-8 is over; `field` says which."""

    codes = (ErrorCode("fetch_timeout", "Connecting, or all of it, took too long.", "Cut off, dropped."),)


class FetchFailed(FetchError):  # noqa: N818 - the name is the specification's
    """The host did not give what was asked for, or nobody can read it."""

    codes = (
        ErrorCode("name_not_resolved", "The host has no address.", "Nothing was sent."),
        ErrorCode("connection_failed", "No connection, or it broke.", "Dropped."),
        ErrorCode(
            "tls_failed", "The certificate or the handshake does not hold.", "Closed; nothing was asked."
        ),
        ErrorCode("protocol_error", "The answer is no HTTP/1.1.", "Closed, dropped."),
        ErrorCode("http_status", "The answer is no success.", "Nothing is stored."),
        ErrorCode("too_many_redirects", "A sixth redirect (FETCH-6).", "Not followed."),
        ErrorCode("content_type", "Not a type of FETCH-9, or none.", "The body is not read."),
        ErrorCode("content_encoding", "Neither gzip nor deflate, or damaged.", "Dropped."),
        ErrorCode("unreadable", "The worker could not read the body.", "The worker was stopped; dropped."),
        ErrorCode("fetcher_busy", "As many fetches wait as the limit allows.", "Refused; try later."),
        ErrorCode("no_search_tool", "The query is no URI, and this node has no search tool.", "Refused."),
        ErrorCode("interrupted", "It was cut off before it ended.", "Nothing is stored."),
    )


_LEAVES: tuple[type[FetchError], ...] = (
    AddressRefused,
    RobotsRefused,
    ConstraintRefused,
    TooLarge,
    FetchTimeout,
    FetchFailed,
)
FETCH_ERRORS: dict[str, type[FetchError]] = {entry.code: leaf for leaf in _LEAVES for entry in leaf.codes}
"""Which error a code belongs to: what an event recorded is raised again as what it was."""


def error_of(code: str, message: str, field: str | None = None) -> FetchError:
    """The error that was recorded as `code`. An unknown code, of a later version, is a `FetchFailed`."""
    leaf = FETCH_ERRORS.get(code)
    if leaf is None:
        return FetchFailed(f"{code}: {message}", code="interrupted", field=field)
    return leaf(message, code=code, field=field)
