"""The errors of knowledge (section 21 of the specification)."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class KnowledgeError(Web4Error):
    """What was asked of the ledger cannot be done. Nothing changed."""


class UnknownFactRef(KnowledgeError):  # noqa: N818 - the name is the specification's
    """No claim has this key here, and no proposal this `msg_id`."""

    codes = (ErrorCode("unknown_fact_ref", "No claim of this node has this reference.", "Nothing changed."),)


class MissingProvenance(KnowledgeError):  # noqa: N818 - the name is the specification's
    """Evidence from the web says not where it is from (LIP-1)."""

    codes = (
        ErrorCode(
            "missing_provenance",
            "Evidence without `uri`, `retrieved_at` or `body_blake3`, or no evidence at all (LIP-1).",
            "Refused; nothing of the message enters the ledger.",
        ),
    )


class ClaimRefused(KnowledgeError):  # noqa: N818 - a refusal, not a fault
    """A claim or a vote does not enter the ledger."""

    codes = (
        ErrorCode("claim_too_long", "The statement is longer than the limit.", "Refused; nothing changed."),
        ErrorCode(
            "claim_unwritable", "The statement has no canonical form (SIG-1).", "Refused; nothing changed."
        ),
        ErrorCode(
            "too_much_evidence",
            "More pieces of evidence or links than a claim keeps.",
            "Refused; nothing changed.",
        ),
        ErrorCode(
            "not_admitted", "The gate does not admit this of a peer so little trusted.", "Nothing changed."
        ),
        ErrorCode(
            "ledger_full",
            "As many claims are open as the limit allows, and none of them is pending (KNOW-10).",
            "Refused; nothing changed. Try again when disputes have ended.",
        ),
        ErrorCode("claim_full", "The claim has as many votes or proposers as it may.", "Nothing changed."),
    )


class VoteRefused(KnowledgeError):  # noqa: N818 - a refusal, not a fault
    """This node does not vote on what it has not seen itself (KNOW-4)."""

    codes = (
        ErrorCode("no_own_evidence", "The vote cites no evidence of this node's own.", "Nothing was sent."),
        ErrorCode(
            "nothing_to_withdraw", "No challenge or rejection of this node's own stands.", "Nothing was sent."
        ),
    )


class HumanDecisionRefused(KnowledgeError):  # noqa: N818 - a refusal, not a fault
    """A decision in a human's name needs the name and a reason (MEM-1)."""

    codes = (
        ErrorCode("name_required", "No human is named.", "Nothing changed."),
        ErrorCode("why_required", "No reason is given.", "Nothing changed."),
    )
