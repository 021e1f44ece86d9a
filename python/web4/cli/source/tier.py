"""`web4 source tier`."""

from typing import Annotated, Literal

from cyclopts import Parameter

from web4.cli.node.reaching import As, Reason
from web4.cli.options import COMMON, Common
from web4.cli.source.setting import Domain, set_tier


def tier(
    domain: Domain,
    to: Annotated[
        Literal["blocked", "low", "unknown", "medium", "high"], Parameter(name="TIER", help="How far.")
    ],
    /,
    *,
    reason: Reason,
    human: As = None,
    common: Common = COMMON,
) -> int:
    """Say how far a source is trusted: the one way out of `blocked`. Name and reason are recorded.

    ```
    web4 source tier example.org medium --reason "known for its corrections"
    ```
    """
    return set_tier(common, domain, to, reason, human)
