"""`web4 down`."""

import os
from typing import Annotated

import trio
from cyclopts import Parameter, validators

from web4.cli.node.reaching import not_running, running
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.doors.control.errors import ControlError


def down(
    *,
    wait: Annotated[
        float,
        Parameter(help="Seconds to wait until it is gone.", validator=validators.Number(gt=0, lte=86_400)),
    ] = 30.0,
    common: Common = COMMON,
) -> int:
    """Ask the running node to stop in order, and wait until its process has ended.

    What is promised to peers waits in the journal. Exit code 4: it has not ended in time, or not even answered.

    ```
    web4 down
    web4 down --data ./ada --wait 5
    ```
    """

    async def body(_: Output) -> Answer:
        end = trio.current_time() + wait
        async with running(common) as control:
            if control is None:
                raise not_running(common)
            process = control.process
            with trio.move_on_at(end) as patience:
                await control.ask("node_stop")
            if patience.cancelled_caught:
                raise ControlError(
                    f"the node (process {process}) has not answered within {wait:g} s", code="no_answer"
                )
        with trio.move_on_at(end) as patience:
            await _gone(process)
        if patience.cancelled_caught:
            raise ControlError(f"the node (process {process}) has not ended yet", code="still_stopping")
        return Answer({"stopped": True, "process": process}, ["stopped"])

    return perform(common, body)


async def _gone(process: int) -> None:
    """Wait until a process has ended. One that cannot be seen from here is gone as far as can be told."""
    try:
        descriptor = os.pidfd_open(process)
    except (OSError, ValueError):
        return
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
