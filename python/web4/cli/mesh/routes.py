"""`web4 mesh routes`."""

from web4.cli.node.reaching import ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import table


def routes(*, common: Common = COMMON) -> int:
    """List the ways that the running node takes: to whom, over whom, at what cost.

    Exit code 3: the node does not run; ways are not kept.

    ```
    web4 mesh routes
    web4 mesh routes --data ./ada --json
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "mesh_routes")
        if not data["routes"]:
            return Answer(data, ["no ways: no neighbour is up and trusted enough"])
        rows: list[list[object]] = [["to", "fingerprint", "hops", "cost", "over"]]
        rows += [
            [
                one["name"] or "-",
                one["destination"][:16],
                one["hops"],
                f"{one['cost']:g}",
                " ".join(node[:16] for node in one["path"][:-1]) or "direct",
            ]
            for one in data["routes"]
        ]
        return Answer(data, table(rows))

    return perform(common, body)
