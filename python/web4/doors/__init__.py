"""Floor 8: how local programs reach a node."""
