"""Lanes `session:<id>`, as far as they are of calls of extensions: what `web4 demo` writes."""

from __future__ import annotations

from web4.cli.extensions.calls import EVENTS, definition

__all__ = ["EVENTS", "definition"]
