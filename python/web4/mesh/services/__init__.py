"""Services: what a node runs for peers that it trusts, and how it asks them for theirs (GRAPH-4)."""
