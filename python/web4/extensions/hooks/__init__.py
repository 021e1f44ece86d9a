"""What the node asks its extensions at fixed points (EXT-10 to EXT-12)."""
