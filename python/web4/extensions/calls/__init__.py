"""Calls as effects of a lane: requested and concluded by events (EXT-3)."""
