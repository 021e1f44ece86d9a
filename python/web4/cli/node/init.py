"""`web4 init`."""

import shlex
from typing import Annotated

import trio
from cyclopts import Parameter

from web4.cli.directory import data_directory
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import visible
from web4.node.directory import LISTEN, Places, make_directory


def init(
    *,
    name: Annotated[
        str | None, Parameter(help="What the agent calls itself: up to 64 of a-z, 0-9, `.`, `_` and `-`.")
    ] = None,
    listen: Annotated[
        str, Parameter(help="Where other agents may dial it: tcp://HOST:PORT; port 0 lets the system choose.")
    ] = LISTEN,
    common: Common = COMMON,
) -> int:
    """Make a node: a data directory, an identity, and a web4.toml. What is there already is left as it is.

    ```
    web4 init
    web4 init --data ./ada --name ada
    web4 init --data ./bob --listen tcp://127.0.0.1:7441
    ```
    """

    async def body(_: Output) -> Answer:
        places = Places(data_directory(common))
        found = await trio.to_thread.run_sync(lambda: make_directory(places, name=name, listen=listen))
        data = {
            "directory": str(places.data),
            "fingerprint": found.identity.fingerprint,
            "made": list(found.made),
        }
        where, quoted = visible(places.data), visible(shlex.quote(str(places.data)))
        lines = [
            f"{'made' if found.made else 'there is'} a node in {where}",
            f"fingerprint {found.identity.fingerprint}",
            "",
            "Next:",
            f"  web4 up --data {quoted}",
            f"  web4 peer add NAME FINGERPRINT tcp://HOST:PORT --data {quoted}",
        ]
        return Answer(data, lines)

    return perform(common, body)
