"""The verbs of `web4 claim`."""
