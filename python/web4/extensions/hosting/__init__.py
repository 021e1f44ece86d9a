"""The extensions of a node: called by name, loaded anew, quarantined (EXT-38, EXT-39)."""
