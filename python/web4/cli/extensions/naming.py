"""Naming an extension on the command line."""

# Annotations are read at run time: types become help.

from typing import TYPE_CHECKING, Annotated

import trio
from cyclopts import Parameter

from web4.extensions.discovery import find
from web4.extensions.errors import EnablingError
from web4.extensions.unknown_keys import nearest

if TYPE_CHECKING:
    from web4.cli.extensions.places import Surroundings

Name = Annotated[str, Parameter(name="NAME", help="The extension, as `web4 ext ls` has it.")]


async def find_extension(around: "Surroundings", name: str) -> str:
    """The directory of the extension of this name.

    Raises:
        EnablingError: `not_found`, with the name that was perhaps meant; `name_twice`.
        ManifestError: It is there, but does not fit.
    """
    found = await trio.to_thread.run_sync(around.discover, abandon_on_cancel=True)
    try:
        one = find(found, name)
    except EnablingError as error:
        near = nearest(name, [one.name for one in found])
        if error.code != "not_found" or near is None:
            raise
        raise EnablingError(f"{error.args[0]}; there is {near!r}", code="not_found") from None
    assert one.directory is not None
    return one.directory
