"""The verbs of `web4 evidence`."""
