"""Who this node knows of, by lane `server` and by its operator's file (MESH-8)."""
