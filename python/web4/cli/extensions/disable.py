"""`web4 ext disable`."""

from typing import Annotated

from cyclopts import Parameter

from web4.cli.extensions.naming import Name
from web4.cli.extensions.places import WHERE, Where, surroundings
from web4.cli.extensions.writing import writing_enabling
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import visible


def disable(
    name: Name,
    /,
    *,
    reason: Annotated[str | None, Parameter(help="Why, for the journal.")] = None,
    where: Where = WHERE,
    common: Common = COMMON,
) -> int:
    """Let an extension run no more. The journal notes it, so the node must not run meanwhile.

    ```
    web4 ext disable notes --reason "asks too much"
    ```
    """

    async def body(_: Output) -> Answer:
        async with writing_enabling(surroundings(common, where)) as enabling:
            await enabling.disable(name, reason=reason)
        return Answer({"name": name, "enabled": False}, [visible(f"{name} is disabled")])

    return perform(common, body)
