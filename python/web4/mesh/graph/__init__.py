"""The network as this node sees it: fed by events, asked questions, exported (GRAPH-1 to GRAPH-3)."""
