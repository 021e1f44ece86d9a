"""What protects from an extension on this machine: measured in a worker that runs no line of any (EXT-32)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from web4.extensions.errors import WorkerStartError
from web4.extensions.manifests.manifest import Resources
from web4.extensions.processes import StartSpec
from web4.worker.request import Limits, PythonEntry, Sandbox

if TYPE_CHECKING:
    from web4.extensions.processes import Processes
    from web4.worker.request import Protections

_MEBIBYTE: Final = 1024 * 1024
_PATIENCE_S: Final = 10.0
_NOTHING: Final = PythonEntry("web4.nothing", "nothing")
"""Would be imported after the first frame, which is never sent."""


class Sound(NamedTuple):
    """What was found.

    Args:
        protections: What a worker had; None if it did not start.
        error: Why it did not: code and message.
    """

    protections: Protections | None
    error: tuple[str, str] | None = None


async def sound(
    processes: Processes,
    sandbox: Sandbox,
    *,
    resources: Resources | None = None,
    user: tuple[int, int] | None = None,
    directory: str = "/usr",
) -> Sound:
    """Start a worker, take its report, and kill it before it reads a frame."""
    spec = StartSpec(
        extension="web4.doctor",
        version="0",
        entry=_NOTHING,
        directory=directory,
        limits=limits_of(resources or Resources()),
        sandbox=sandbox,
        user=user,
    )
    try:
        with trio.fail_after(_PATIENCE_S):
            worker = await processes.start(spec)
    except WorkerStartError as error:
        return Sound(None, (error.code or "", str(error.args[0])))
    except trio.TooSlowError:
        return Sound(None, ("extension_start_timeout", f"it was not there within {_PATIENCE_S:g} s"))
    try:
        return Sound(worker.protections)
    finally:
        worker.kill("measured")
        with trio.CancelScope(shield=True):
            await worker.wait()
            worker.close()


def limits_of(resources: Resources) -> Limits:
    """What the kernel is told of a manifest's resources."""
    return Limits(
        memory=resources.memory_mb * _MEBIBYTE,
        cpu_seconds=resources.cpu_seconds,
        open_files=resources.open_files,
        processes=resources.processes,
        file=resources.file_mb * _MEBIBYTE,
    )
