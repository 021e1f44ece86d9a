"""Why the mesh did not do what was asked of it (section 21 of the specification)."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class MeshError(Web4Error):
    """Base of what the mesh raises."""


class NoRoute(MeshError):  # noqa: N818 - the name is the specification's
    """There is no way to the destination that this node would take (MESH-3, step 6)."""

    codes = (
        ErrorCode(
            "no_route", "No registered, trusted and live neighbour offers a way there.", "Nothing was sent."
        ),
        ErrorCode(
            "no_answer", "The destination did not answer on the way that was chosen.", "Another is next."
        ),
    )


class HopLimit(MeshError):  # noqa: N818 - the name is the specification's
    """The destination is further away than envelopes may go (MESH-3, step 5)."""

    codes = (ErrorCode("hop_limit", "`hops` is full before the destination.", "Dropped."),)


class LoopDetected(MeshError):  # noqa: N818 - the name is the specification's
    """The envelope was here before (MESH-3, step 3)."""

    codes = (
        ErrorCode("loop", "This node stands in `hops` already.", "Dropped."),
        ErrorCode("seen", "This envelope of this origin was handled before.", "Dropped."),
    )


class PeerBlocked(MeshError):  # noqa: N818 - the name is the specification's
    """A node on the way is blacklisted here (MESH-3, step 2)."""

    codes = (ErrorCode("blocked", "Origin, previous hop or destination is blacklisted here.", "Dropped."),)
