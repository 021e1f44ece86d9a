"""Where extensions are looked for, and what the operator says of them (EXT-6, UX-36)."""

# Annotations are read at run time: types become help.

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from cyclopts import Parameter

from web4.cli.configuration import config_file
from web4.cli.directory import data_directory
from web4.extensions.manifests.configuration import ExtensionsConfiguration, read_configuration
from web4.extensions.manifests.grants import NodePaths
from web4.extensions.places.discovery import Found, Places, discover

if TYPE_CHECKING:
    from web4.cli.options import Common


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What decides which extensions are found."""

    project: Annotated[
        Path | None,
        Parameter(
            name="--project",
            help="The project whose `.web4/extensions` is searched. Left out: the directory you are in.",
        ),
    ] = None


WHERE = Where()


class Surroundings(NamedTuple):
    """A node's directories and configuration, as far as extensions are concerned.

    Args:
        data: Its data directory, absolute; there or not.
        configuration: What the operator says.
        places: What is searched.
        paths: What no extension may reach.
    """

    data: Path
    configuration: ExtensionsConfiguration
    places: Places
    paths: NodePaths

    def discover(self) -> list[Found]:
        """All extensions that are found. Blocks."""
        return discover(self.places)


def surroundings(common: "Common", where: Where) -> Surroundings:
    """Read the configuration, and say where to look. Blocks.

    Raises:
        ConfigurationError: The file that is named is not there.
        ExtensionsConfigurationError: It cannot be read, or does not fit.
    """
    data = Path(os.path.abspath(data_directory(common)))  # noqa: PTH100 - `resolve` would follow links
    file = config_file(common)
    configuration = read_configuration(file)
    project = Path(os.path.abspath(where.project or Path()))  # noqa: PTH100 - as above
    return Surroundings(
        data=data,
        configuration=configuration,
        places=Places(configured=configuration.paths, project=str(project), data=str(data)),
        paths=NodePaths(data=str(data), more=() if file is None else (str(file),)),
    )
