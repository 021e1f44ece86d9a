"""`web4 doctor`."""

import platform
import sys
from collections.abc import Mapping
from typing import Any

import trio

from web4.cli import exits
from web4.cli.doctor_protections import Sound, document_of, notes_of, table_of
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import facts, paint, table, visible
from web4.worker.request import Level, Protections


def doctor(*, common: Common = COMMON) -> int:
    """Say what protects this machine from extensions, and what is missing. Nothing is assumed: workers are started.

    One worker of each sandbox level enters its sandbox, reports what the kernel gave it, and is killed before it runs
    a line of any extension.

    Exit code 0: every level is whole. 8: extensions run, with less than a level promises. 1: none can run in level
    `standard`.

    ```
    web4 doctor
    web4 doctor --json
    ```
    """

    async def body(_: Output) -> Answer:
        found, shared = await measure()
        return answer_of(found, shared)

    return perform(common, body)
