"""What `web4 source tier` and `block` have in common."""

from typing import Annotated

from cyclopts import Parameter

from web4.cli.node.reaching import human_name, tell
from web4.cli.options import Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import visible

Domain = Annotated[
    str, Parameter(name="DOMAIN", help="A host, or an address: the registrable domain is meant.")
]


def set_tier(common: Common, domain: str, tier: str, reason: str, human: str | None) -> int:
    """Say to the running node how far a source is trusted."""

    async def body(_: Output) -> Answer:
        said = {"domain": domain, "tier": tier, "human": human_name(human), "reason": reason}
        data = await tell(common, "source_tier", said)
        moved = data["was"] != data["tier"]
        line = f"{data['was']} → {data['tier']}" if moved else f"stays {data['tier']}"
        return Answer(data, [visible(f"{data['domain']}: {line}")])

    return perform(common, body)
