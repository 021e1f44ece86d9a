"""What a peer may say, by type and by how far it is trusted: the table of TRUST-6, as data."""

# ruff: noqa: E501 - a table is read by its columns

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from web4.trust import TrustState

Admission = Literal[
    "no", "drop", "yes", "enters as pending", "kept, weight 0 until trusted", "counts", "note only", "disputes",
    "consent gate",
]  # fmt: skip
"""`no` is refused with an ERROR, `drop` silently; everything else is handled in the way it says."""

# fmt: off
_ROWS: Final[tuple[tuple[str, Admission, Admission, Admission, Admission], ...]] = (
    # types                                                  unknown, untrusted  probing                          trusted         blacklisted
    ("HELLO VERIFY ERROR RECEIPT",                           "yes",              "yes",                           "yes",          "drop"),
    ("STATE_UPDATE INTENT REPLY",                            "no",               "yes",                           "yes",          "drop"),
    ("HCP_HELLO HCP_STATE_UPDATE MESH_HELLO",                "no",               "yes",                           "yes",          "drop"),
    ("FACT_PROPOSE LIP_EVIDENCE",                            "no",               "enters as pending",             "yes",          "drop"),
    ("FACT_CONFIRM FACT_REJECT LIP_ACCEPT LIP_REJECT",       "no",               "kept, weight 0 until trusted",  "counts",       "drop"),
    ("FACT_CHALLENGE LIP_CONFLICT",                          "no",               "note only",                     "disputes",     "drop"),
    ("HCP_INTENT HCP_CONTEXT HCP_DECISION HCP_FEEDBACK",     "no",               "no",                            "consent gate", "drop"),
    ("DECISION_SHARE LIP_FETCH",                             "no",               "no",                            "yes",          "drop"),
    ("MESH_ROUTES MESH_INTRODUCE MESH_REVOKE MESH_RELAY",    "no",               "no",                            "yes",          "drop"),
    ("SERVICE_INVOKE SERVICE_RESULT",                        "no",               "no",                            "yes",          "drop"),
)
# fmt: on

GATES: Final[dict[str, dict[TrustState, Admission]]] = {
    type_name: {
        "unknown": stranger,
        "untrusted": stranger,
        "probing": probing,
        "trusted": trusted,
        "blacklisted": blacklisted,
    }
    for types, stranger, probing, trusted, blacklisted in _ROWS
    for type_name in types.split()
}
"""Admission by type name and trust state. That a REPLY must answer a message of ours is for its protocol."""
