"""What travels between nodes: the envelopes of all protocols, typed once (ENV-1)."""
