"""What may be wrong with a graph: one code for each rule (GRAPH-2)."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class GraphError(Web4Error):
    """A graph breaks a rule of GRAPH-2, or is no graph. `field` names the node or edge."""

    codes = (
        ErrorCode("syntax", "The document is no JSON of a graph.", "Nothing is taken over."),
        ErrorCode("version", "The document is of another version.", "Nothing is taken over."),
        ErrorCode("schema", "A field is missing, unknown, or of another type.", "Nothing is taken over."),
        ErrorCode("too_large", "More nodes or edges than a graph may have.", "Nothing is taken over."),
        ErrorCode("duplicate_id", "Two nodes, or two edges, have one id.", "Nothing is taken over."),
        ErrorCode("unknown_kind", "No kind of node has this name.", "Nothing is taken over."),
        ErrorCode("unknown_relation", "No relation has this name.", "Nothing is taken over."),
        ErrorCode("unknown_state", "No state of an edge has this name.", "Nothing is taken over."),
        ErrorCode("bad_weight", "A weight is negative, or no finite number.", "Nothing is taken over."),
        ErrorCode("unknown_endpoint", "An edge begins or ends at no node.", "Nothing is taken over."),
        ErrorCode("bad_address", "The address of a node cannot be parsed.", "Nothing is taken over."),
        ErrorCode("self_trust", "A node trusts itself.", "Nothing is taken over."),
        ErrorCode("no_handler", "Nobody does what a service node stands for.", "Nothing is taken over."),
        ErrorCode("trust_mismatch", "`trusts` differs from the TrustFSM.", "Nothing is taken over."),
        ErrorCode("unknown_node", "There is no such node.", "The question has no answer."),
    )
