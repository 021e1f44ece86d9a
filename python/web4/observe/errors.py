"""What goes wrong with observing, and stays there."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class SinkError(Web4Error):
    """A sink that cannot be what it was asked to be. A sink that fails later loses its own events only (OBS-4)."""

    codes = (
        ErrorCode("sink_options", "A number of a sink's options is out of its range.", "Not opened."),
        ErrorCode("sink_name", "Two sinks of a hub have the same name.", "Not opened."),
        ErrorCode("sink_unavailable", "A library that the sink needs is not installed.", "Not opened."),
    )
