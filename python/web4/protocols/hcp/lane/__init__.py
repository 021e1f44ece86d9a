"""Lanes `human:<id>`: what they record, know and decide. Pure, but for `definition` (WEB-1, WEB-2)."""
