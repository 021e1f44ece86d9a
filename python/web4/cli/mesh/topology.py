"""`web4 mesh topology`."""

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from web4.cli.node.reaching import ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output, encode
from web4.cli.running import Answer, perform
from web4.cli.text import table


def topology(
    *,
    form: Annotated[
        Literal["table", "json", "dot"],
        Parameter(name="--format", help="`table`, `json`: the graph's own document, or `dot`: for Graphviz."),
    ] = "table",
    common: Common = COMMON,
) -> int:
    """Show the network as the node sees it: who is known, who is linked to whom, who is trusted, what is offered.

    Of a node that does not run it shows who is known and trusted; links are known while it runs.

    ```
    web4 mesh topology
    web4 mesh topology --format dot
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "mesh_topology", {"format": "dot" if form == "dot" else "json"})
        if form == "dot":
            return Answer(data, data["dot"].splitlines())
        if form == "json":
            return Answer(data, [encode(data["graph"])])
        return Answer(data, _lines(data))

    return perform(common, body)


def _lines(data: dict[str, Any]) -> list[str]:
    graph, names = data["graph"], data["names"]

    def name(node: str) -> str:
        fingerprint, slash, service = node.partition("/")
        own = "this node" if fingerprint == graph["own"] else fingerprint[:16]
        return f"{names.get(fingerprint, own)}{slash}{service}"

    rows = [["node", "kind", "address", "fingerprint"]]
    rows += [
        [name(one["id"]), one["kind"], one["address"] or "-", one["id"].partition("/")[0][:16]]
        for one in graph["nodes"]
    ]
    lines = table(rows)
    if graph["edges"]:
        links = [["from", "", "to", "weight", ""]]
        links += [
            [
                name(one["source"]),
                one["relation"],
                name(one["target"]),
                f"{one['weight']:g}",
                "" if one["state"] == "active" else one["state"],
            ]
            for one in graph["edges"]
        ]
        lines += ["", *table(links)]
    return lines if data["running"] else [*lines, "", "the node does not run: its links are not known"]
