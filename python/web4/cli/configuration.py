"""Which configuration is read. Verbs that find their node running import none of this."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from web4.cli.directory import data_directory
from web4.node.config import CONFIG_FILE
from web4.node.errors import ConfigurationError

if TYPE_CHECKING:
    from web4.cli.options import Common


def config_file(common: Common) -> Path | None:
    """The configuration that is read, absolute: the one that is named, or the first that is there (UX-36). Blocks.

    Raises:
        ConfigurationError: The one that is named, by `--config` or `$WEB4_CONFIG`, is not there.
    """
    told = os.environ.get("WEB4_CONFIG")
    named = common.config or (Path(told) if told else None)
    if named is not None:
        if not named.exists():
            raise ConfigurationError(f"{named} is not there", code="configuration")
        return named.absolute()
    found = (Path(CONFIG_FILE), data_directory(common) / CONFIG_FILE)
    return next((one.absolute() for one in found if one.exists()), None)
