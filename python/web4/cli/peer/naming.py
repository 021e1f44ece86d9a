"""Telling a running node that peers.toml is another one now."""

from typing import TYPE_CHECKING

from web4.cli.node.reaching import running

if TYPE_CHECKING:
    from web4.cli.options import Common


async def configure(common: "Common") -> bool:
    """Let the running node read peers.toml again; whether one runs.

    Raises:
        CommandFailed, ControlError: It could not.
    """
    async with running(common) as control:
        if control is None:
            return False
        await control.ask("peers_configure")
        return True
