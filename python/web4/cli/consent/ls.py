"""`web4 consent ls`."""

from web4.cli.consent.rows import words_of
from web4.cli.node.reaching import ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import moment, table


def ls(*, common: Common = COMMON) -> int:
    """List what humans consent to: those of this node, and those at peers. How they are is not told.

    Works beside a running node, and without.

    ```
    web4 consent ls
    web4 consent ls --data ./ada --json
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "consent_ls")
        if not data["humans"]:
            return Answer(data, ["no humans; `web4 consent grant HUMAN --new` has one on this node"])
        rows = [["human", "at", "name", "role", "consent", "said"]]
        rows += [
            [
                one["human"],
                "here" if one["peer"] is None else one["peer_name"] or one["peer"][:16],
                one["name"] or "-",
                one["role"] or "-",
                words_of(one),
                "-" if one["said_ms"] is None else moment(one["said_ms"]),
            ]
            for one in data["humans"]
        ]
        return Answer(data, table(rows))

    return perform(common, body)
