"""`web4 claim ls`."""

from typing import Annotated, Literal

from cyclopts import Parameter, validators

from web4.cli.claim.rows import line_of
from web4.cli.node.reaching import ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform


def ls(
    *,
    status: Annotated[
        Literal["pending", "disputed", "accepted", "rejected"] | None, Parameter(help="Only those.")
    ] = None,
    domain: Annotated[str | None, Parameter(help="Only claims of this domain.")] = None,
    after: Annotated[str | None, Parameter(help="Go on behind this key: `next` of the call before.")] = None,
    limit: Annotated[
        int, Parameter(help="At most so many.", validator=validators.Number(gte=1, lte=500))
    ] = 100,
    common: Common = COMMON,
) -> int:
    """List the claims of the ledger, and what the node makes of each.

    Works beside a running node, and without.

    ```
    web4 claim ls --status pending
    web4 claim ls --domain geography --json
    ```
    """

    async def body(_: Output) -> Answer:
        asked = {"status": status, "domain": domain, "after": after, "limit": limit}
        data = await ask(common, "claim_ls", asked)
        lines = [line for one in data["claims"] for line in line_of(one)] or ["no claims"]
        if data["next"]:
            lines.append(f"more with --after {data['next']}")
        return Answer(data, lines)

    return perform(common, body)
