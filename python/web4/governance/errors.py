"""What governance refuses."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class MissionRefused(Web4Error):  # noqa: N818 - a refusal, not a fault
    """A mission document that this node does not adopt (DRIFT-1)."""

    codes = (
        ErrorCode("mission_malformed", "Not a mission document in canonical form.", "The mission stays."),
        ErrorCode("mission_signature", "The document's signature does not verify.", "The mission stays."),
        ErrorCode("mission_signer", "Signed by a key that this node does not heed.", "The mission stays."),
        ErrorCode("mission_outdated", "Its version is not above that of the mission.", "The mission stays."),
        ErrorCode("mission_human", "No human is named who adopts it.", "The mission stays."),
    )


class ApprovalRefused(Web4Error):  # noqa: N818 - a refusal, not a fault
    """An approval that lets nothing pass (DRIFT-3)."""

    codes = (
        ErrorCode("approver_required", "An approval names no human.", "Nothing recorded."),
        ErrorCode("approval_reason", "An approval gives no reason.", "Nothing recorded."),
        ErrorCode(
            "whose_intent",
            "No blocked intent has this id, or several have, and it is not said whose is meant.",
            "Nothing recorded.",
        ),
        ErrorCode("already_passed", "The intent was let through before.", "Nothing recorded."),
        ErrorCode(
            "too_long", "An id, a name or a cause is longer than governance keeps.", "Nothing recorded."
        ),
    )
