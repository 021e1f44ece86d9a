"""The verbs of `web4 trust`."""
