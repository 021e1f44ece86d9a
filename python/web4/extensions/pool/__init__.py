"""The workers of one generation, and who is served by which of them (EXT-35 to EXT-37)."""
