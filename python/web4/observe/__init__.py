"""Floor 2: events out: which there are, what of them may be seen, and where they go (section 19).

async with open_hub("ada", sinks=[JsonLinesSink(directory / "events.jsonl")]) as hub:
    cip = CipRuntime(identity, options=options, emit=hub.emit)
"""

from web4.observe.catalogue import KINDS, EventKind, event_schemas
from web4.observe.errors import SinkError
from web4.observe.hub import ObservabilityHub, open_hub
from web4.observe.redaction import Redaction
from web4.observe.sinks.callback import CallbackSink
from web4.observe.sinks.json_lines import JsonLinesSink
from web4.observe.sinks.memory import MemorySink
from web4.observe.sinks.sink import Sink
from web4.observe.sinks.stream import StreamSink

__all__ = [
    "KINDS",
    "CallbackSink",
    "EventKind",
    "JsonLinesSink",
    "MemorySink",
    "ObservabilityHub",
    "Redaction",
    "Sink",
    "SinkError",
    "StreamSink",
    "event_schemas",
    "open_hub",
]
