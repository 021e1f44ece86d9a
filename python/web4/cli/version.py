"""`web4 version`."""

from web4 import _core
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform


def version(*, common: Common = COMMON) -> int:
    """Say which Web4 this is, and how its native core was built.

    ```
    web4 version --json
    ```
    """

    async def body(_: Output) -> Answer:
        number, build = _core.build_info()
        return Answer({"version": number, "core": build}, [f"web4 {number}, {build} core"])

    return perform(common, body)
