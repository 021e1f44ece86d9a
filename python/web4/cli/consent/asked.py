"""`web4 consent asked`."""

from typing import Annotated

from cyclopts import Parameter

from web4.cli.node.reaching import ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import moment, visible


def asked(
    human: Annotated[
        str | None, Parameter(name="HUMAN", help="Only what this human is asked. Left out: everybody here.")
    ] = None,
    /,
    *,
    common: Common = COMMON,
) -> int:
    """List the questions to humans of this node that wait for an answer. Without one they are deferred, never done.

    Works beside a running node, and without.

    ```
    web4 consent asked
    web4 consent asked grace --json
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "consent_asked", {"human": human})
        lines = []
        for one in data["check_ins"]:
            lines.append(visible(f"{one['check_in']}  to {one['human']}, until {moment(one['expires_ms'])}"))
            lines.append(visible(f"    {one['question']}"))
            other = f"{one['other']} at {one['peer_name'] or one['peer'][:16]}"
            way = f"to {other}" if one["direction"] == "out" else f"from {other}"
            lines.append(visible(f"    {one['type']} {way}, asked by {one['asked_by']}"))
        return Answer(data, lines or ["nothing waits for an answer"])

    return perform(common, body)
