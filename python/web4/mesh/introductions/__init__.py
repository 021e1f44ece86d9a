"""Introductions: a trusted peer vouches that another exists, and that makes it `probing` and no more (MESH-10, 11)."""
