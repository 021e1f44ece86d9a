"""`web4 ext reset`."""

from web4.cli.extensions.naming import Name
from web4.cli.extensions.places import WHERE, Where, surroundings
from web4.cli.extensions.writing import writing_enabling
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import visible
from web4.extensions.errors import EnablingError
from web4.extensions.quarantine import Breaker


def reset(name: Name, /, *, where: Where = WHERE, common: Common = COMMON) -> int:
    """End the quarantine of an extension that failed too often: its next call is made.

    What it did wrong is in the journal: `web4 journal history --type extension.quarantined`. The journal notes the
    reset, so the node must not run meanwhile.

    ```
    web4 ext reset notes
    ```
    """

    async def body(_: Output) -> Answer:
        async with writing_enabling(surroundings(common, where)) as enabling:
            record = (await enabling.state()).records.get(name)
            if record is None or not record.enabled:
                raise EnablingError(f"{name} is not enabled", code="not_enabled")
            change = None if record.quarantine is None else Breaker(record.quarantine).reset()
            if change is not None:
                await enabling.breaker_changed(name, change, by="operator")
        done = change is not None
        line = f"the quarantine of {name} is over" if done else f"{name} was not quarantined"
        return Answer({"name": name, "reset": done}, [visible(line)])

    return perform(common, body)
