"""How verbs reach what they need: the running node at its control socket, else what it left in its journal (UX-1)."""

from __future__ import annotations

import getpass
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from web4.cli.directory import data_directory
from web4.doors.control.client import open_control
from web4.doors.control.errors import ControlError
from web4.doors.control.socket_place import PATH_BYTES, socket_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from web4.cli.options import Common
    from web4.doors.control.client import Control
    from web4.foundation.errors import Web4Error

Reason = Annotated[str, Parameter(name="--reason", help="Why. It is recorded.")]
As = Annotated[
    str | None,
    Parameter(
        name="--as", help="The human in whose name it is done; it is recorded. Left out: your login name."
    ),
]
PeerWord = Annotated[
    str,
    Parameter(
        name="PEER", help="A name of peers.toml, a fingerprint, or the first digits of one, eight at least."
    ),
]


def directory_of(common: Common) -> Path:
    """The node's data directory, absolute, there or not."""
    return Path(os.path.abspath(data_directory(common)))  # noqa: PTH100 - `resolve` would follow links


def human_name(given: str | None) -> str:
    """In whose name something is done."""
    if given is not None:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return f"uid:{os.getuid()}"


@asynccontextmanager
async def running(common: Common, *, seconds: float = 90.0) -> AsyncIterator[Control | None]:
    """A connection to the running node; None if none runs.

    Args:
        common: Which one.
        seconds: How long one answer may take.

    Raises:
        ControlError: `socket_permissions`.
    """
    path = socket_path(directory_of(common))
    if len(os.fsencode(path)) > PATH_BYTES:  # no node can listen there
        yield None
        return
    opened = open_control(path, seconds=seconds)
    try:
        control = await opened.__aenter__()
    except ControlError as error:
        if error.code != "not_running":
            raise
        yield None
        return
    try:
        yield control
    finally:
        await opened.__aexit__(None, None, None)


async def ask(
    common: Common, question: str, payload: Mapping[str, Any] | None = None, *, seconds: float = 90.0
) -> dict[str, Any]:
    """Ask a question of `web4.doors.views`: of the running node, or else of its journal. Nothing changes.

    Raises:
        CommandFailed, ControlError: What the running node says.
        Web4Error: What is wrong with the data directory, or what the question says.
    """
    async with running(common, seconds=seconds) as control:
        if control is not None:
            return await control.ask(question, payload)
    return await _ask_at_rest(common, question, payload or {})


async def _ask_at_rest(common: Common, question: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    # None of them is paid for by a verb that finds its node running.
    from web4.cli.configuration import config_file  # noqa: PLC0415
    from web4.doors.views.at_rest import open_at_rest  # noqa: PLC0415
    from web4.doors.views.questions import answer  # noqa: PLC0415

    async with open_at_rest(directory_of(common), config_file(common)) as reading:
        return dict(await answer(reading, question, payload))


async def tell(common: Common, command: str, payload: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Give a command to the running node.

    Raises:
        ControlError: `not_running`, or the connection's.
        CommandFailed: What the node says.
    """
    async with running(common) as control:
        if control is None:
            raise not_running(common)
        return await control.ask(command, payload)


def not_running(common: Common) -> Web4Error:
    """The error that says that only a running node can do it; `no_node` if there is none at all."""
    from web4.node.directory import Places  # noqa: PLC0415 - as above
    from web4.node.errors import DirectoryError  # noqa: PLC0415

    places = Places(directory_of(common))
    if not places.key.exists():
        return DirectoryError(f"there is no node in {places.data}", code="no_node")
    return ControlError(
        f"no node runs in {places.data}, and only a running one can do this", code="not_running"
    )
