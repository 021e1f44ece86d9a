"""`web4 evidence show`."""

from typing import Annotated, Any

from cyclopts import Parameter, validators

from web4.cli.node.reaching import ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import facts, visible

Digest = Annotated[
    str | None,
    Parameter(
        name="DIGEST",
        help="BLAKE3 of a body that was fetched, or its first digits, eight at least; or of an envelope that a trust "
        "event cites. Left out: the last fetches.",
    ),
]


def show(
    digest: Digest = None,
    /,
    *,
    limit: Annotated[
        int, Parameter(help="How many of the last.", validator=validators.Number(gte=1, lte=200))
    ] = 20,
    common: Common = COMMON,
) -> int:
    """Show how pages came here that were fetched: from where, when, over which addresses, and their digests.

    Works beside a running node, and without. Titles and excerpts are the sites' words.

    ```
    web4 evidence show
    web4 evidence show 77aa01cd --json
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "evidence_show", {"digest": digest, "limit": limit})
        lines: list[str] = []
        if digest is None:
            lines = [
                visible(f"{one['body_blake3'][:16]}  {one['retrieved_at']}  {one['final_uri']}")
                for one in data["fetches"]
            ]
            return Answer(data, lines or ["nothing was fetched yet"])
        for one in data["fetches"]:
            lines += [*_fetch(one), ""]
        if data["envelope"] is not None:
            lines += [*facts([(name, value) for name, value in data["envelope"].items()]), ""]
        return Answer(data, lines[:-1])

    return perform(common, body)


def _fetch(one: dict[str, Any]) -> list[str]:
    lines = facts(
        [
            ("uri", one["uri"]),
            ("final", one["final_uri"]),
            ("retrieved", one["retrieved_at"]),
            ("type", f"{one['content_type']} {one['charset']}".strip()),
            ("body", f"{one['body_bytes']} B, BLAKE3 {one['body_blake3']}"),
            ("title", one["title"] or None),
            ("begins", one["excerpt"] or None),
            ("held to", ", ".join(one["constraints"]) or None),
            ("exceptions", ", ".join(one["exceptions"]) or None),
        ]
    )
    for hop in one["hops"]:
        lines.append(
            visible(f"  {hop['status']} {hop['uri']} at {hop['address']}, robots.txt: {hop['robots']}")
        )
    return lines
