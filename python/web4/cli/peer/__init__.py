"""The verbs of `web4 peer`."""
