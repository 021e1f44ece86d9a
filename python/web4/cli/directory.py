"""Where a node's data directory is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from web4.cli.errors import CommandError

if TYPE_CHECKING:
    from web4.cli.options import Common


def data_directory(common: Common) -> Path:
    """The node's data directory, there or not.

    Raises:
        CommandError: None is named, and the user has no home to look in.
    """
    if common.data is not None:
        return common.data
    home = os.environ.get("WEB4_HOME")
    if home:
        return Path(home)
    shared = os.environ.get("XDG_DATA_HOME")
    try:
        return (Path(shared) if shared else Path.home() / ".local" / "share") / "web4"
    except RuntimeError:
        raise CommandError("there is no home directory: name the node's with --data", code="usage") from None
