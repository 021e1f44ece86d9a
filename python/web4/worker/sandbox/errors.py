"""Why a worker does not start."""

from __future__ import annotations


class Unprotected(Exception):  # noqa: N818 - it is a state, told to the node as `extension_unprotected`
    """A protection is missing that the level or the manifest demands, or a grant reaches what is hidden (EXT-31, 32).

    Args:
        reason: One sentence, without secrets.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
