"""`web4 source ls`."""

from web4.cli.node.reaching import ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import table


def ls(*, common: Common = COMMON) -> int:
    """List how far sources on the internet are trusted, and how their claims did.

    Works beside a running node, and without.

    ```
    web4 source ls
    web4 source ls --data ./ada --json
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "source_ls")
        if not data["sources"]:
            return Answer(data, ["no sources yet"])
        rows: list[list[object]] = [["domain", "tier", "accepted", "still"]]
        rows += [[one["domain"], one["tier"], one["accepted"], one["standing"]] for one in data["sources"]]
        return Answer(data, table(rows))

    return perform(common, body)
