"""The life of one worker as the node lives it, and how a call of it ends (EXT-14 to EXT-28)."""
