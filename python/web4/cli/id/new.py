"""`web4 id new`."""

from pathlib import Path
from typing import Annotated

import trio
from cyclopts import Parameter

from web4.cli.node.reaching import directory_of
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import visible
from web4.foundation.identity import generate_identity, save_identity
from web4.node.directory import Places, refuse_unfinished


def new(
    file: Annotated[
        Path | None,
        Parameter(name="FILE", help="The key file. Left out: `identity/node.pem` of the data directory."),
    ] = None,
    /,
    *,
    common: Common = COMMON,
) -> int:
    """Make a new key. A key that is there is never written over: exit code 7.

    The file has mode 0600, in a directory of mode 0700: whoever reads it is this agent.

    ```
    web4 id new
    web4 id new ./keys/spare.pem --json
    ```
    """

    async def body(_: Output) -> Answer:
        path = (directory_of(common) / "identity" / "node.pem") if file is None else file.absolute()
        if file is None:
            await trio.to_thread.run_sync(refuse_unfinished, Places(directory_of(common)))
        identity = generate_identity()
        await trio.to_thread.run_sync(save_identity, identity, path)
        data = {"fingerprint": identity.fingerprint, "file": str(path)}
        return Answer(data, [f"made {visible(path)}", f"fingerprint {identity.fingerprint}"])

    return perform(common, body)
