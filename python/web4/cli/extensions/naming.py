"""Naming an extension on the command line."""

# Annotations are read at run time: types become help.

from typing import TYPE_CHECKING, Annotated

import trio
from cyclopts import Parameter

from web4.extensions.errors import EnablingError
from web4.extensions.manifests.unknown_keys import nearest
from web4.extensions.places.discovery import find

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.cli.extensions.places import Surroundings
    from web4.extensions.places.discovery import Found

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
        if error.code != "not_found":
            raise
        raise _not_found(found, name) from None
    assert one.directory is not None
    return one.directory


async def not_found(around: "Surroundings", name: str) -> EnablingError:
    """The error that says that nothing of this name was found, and what was perhaps meant."""
    return _not_found(await trio.to_thread.run_sync(around.discover, abandon_on_cancel=True), name)


def _not_found(found: "Sequence[Found]", name: str) -> EnablingError:
    near = nearest(name, [one.name for one in found])
    meant = "" if near is None else f"; there is {near!r}"
    return EnablingError(f"no place that is searched holds an extension {name!r}{meant}", code="not_found")
