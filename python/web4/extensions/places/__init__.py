"""Where extensions are found, and which bytes they are (EXT-6, EXT-7)."""
