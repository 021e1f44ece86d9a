"""The verbs of `web4 source`."""
