"""`web4 source block`."""

from web4.cli.node.reaching import As, Reason
from web4.cli.options import COMMON, Common
from web4.cli.source.setting import Domain, set_tier


def block(domain: Domain, /, *, reason: Reason, human: As = None, common: Common = COMMON) -> int:
    """Believe a source nothing any more: its open claims are rejected, accepted ones disputed.

    Name and reason are recorded. `web4 source tier` takes it back.

    ```
    web4 source block example.org --reason "it invents its quotes"
    ```
    """
    return set_tier(common, domain, "blocked", reason, human)
