"""Runs an extension from a test (EXT-44)."""
