"""The mesh demo: a ring of nodes, the cables between them, and the steps of its story (DEMO-2)."""
