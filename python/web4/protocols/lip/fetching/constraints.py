"""What whoever asks for a fetch may demand of it (FETCH-2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from web4.protocols.lip.errors import AddressRefused, ConstraintRefused
from web4.protocols.lip.fetching.uris import parse_uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.protocols.lip.fetching.uris import FetchUri

MAX_CONSTRAINTS: Final = 16
_DOMAIN: Final = "domain:"


@dataclass(frozen=True, slots=True)
class Constraints:
    """Those of one fetch. All of them hold, on every hop.

    Args:
        no_personal_data: Whether a body with personal data is refused.
        domains: Each allows itself and its subdomains; with more than one, only what is under all of them.
    """

    no_personal_data: bool = False
    domains: tuple[str, ...] = ()

    def check(self, uri: FetchUri) -> None:
        """Refuse a host outside of the domains, before anything is resolved.

        Raises:
            ConstraintRefused: `domain_refused`.
        """
        for domain in self.domains:
            if uri.host != domain and (uri.address is not None or not uri.host.endswith(f".{domain}")):
                raise ConstraintRefused(
                    f"{uri.host} is not under {domain}", code="domain_refused", field="constraints"
                )


def parse_constraints(constraints: Sequence[str]) -> Constraints:
    """Read the constraints of a request.

    Raises:
        ConstraintRefused: `unknown_constraint`: one of them is not known, or there are too many.
    """
    if len(constraints) > MAX_CONSTRAINTS:
        raise _unknown(f"more than {MAX_CONSTRAINTS} constraints")
    no_personal_data, domains = False, []
    for one in constraints:
        if one == "no_personal_data":
            no_personal_data = True
        elif one.startswith(_DOMAIN):
            domains.append(_domain(one.removeprefix(_DOMAIN)))
        else:
            raise _unknown("a constraint that this node does not know")
    return Constraints(no_personal_data=no_personal_data, domains=tuple(domains))


def _domain(text: str) -> str:
    """A domain in the spelling of `FetchUri.host`."""
    if not text.startswith("[") and any(mark in text for mark in ":/?#"):
        raise _unknown("a domain that is no host")
    try:
        uri = parse_uri(f"http://{text}/")
    except AddressRefused:
        raise _unknown("a domain that is no host") from None
    if uri.target != "/" or uri.port != 80:
        raise _unknown("a domain that is no host")
    return uri.host


def _unknown(what: str) -> ConstraintRefused:
    return ConstraintRefused(what, code="unknown_constraint", field="constraints")
