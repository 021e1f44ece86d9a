"""The parts of the demo: processes, timeline, checks, and the story that ties them together."""
