"""What verbs there are. Each is imported when it is called, or when its help is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cyclopts import App

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

JOURNAL: Final = {
    "tail": "Show the last records, of one lane or of all, and follow what is written.",
    "history": "Ask what happened, when, and on whose behalf.",
    "stats": "Show what a journal holds: profile, lanes, records, bytes, unfinished work, boots.",
    "verify": "Check that a journal, or an incident bundle, is what was written.",
    "replay": "Rebuild the states of lanes from their records, and compare on the way.",
    "export": "Write an incident bundle: records, blobs and a manifest that prove themselves anywhere.",
    "backup": "Copy a journal, beside its running node too, and verify the copy.",
    "compact": "Put base snapshots in the place of lanes' first records, and remove those.",
    "repair": "Plan how damaged lanes are cut after their last good record; do it with `--apply`.",
    "migrate": "Bring a journal of the edition before to this edition's schema.",
}
"""The verbs of `web4 journal`: what the list says, and each one's own help begins with."""

EXTENSIONS: Final = {
    "ls": "List the extensions that are found: where, which version, and how each stands.",
    "show": "Show what an extension says of itself, what it asks for, and what it would be given here.",
    "check": "Validate a directory, start what is in it once, and say all that is wrong.",
    "enable": "Show what an extension asks for, and let it run as it is now.",
    "disable": "Let an extension run no more.",
    "call": "Call a tool or a command of an extension, and wait for what comes of it.",
    "reset": "End the quarantine of an extension that failed too often.",
    "new": "Write a new extension that works: a manifest, a tool, a test.",
}
"""The verbs of `web4 ext`, likewise."""

NODE: Final = {
    "init": "Make a node: a data directory, an identity, and a web4.toml.",
    "up": "Run the node of a data directory, until Ctrl-C.",
}
"""The verbs of a node as a whole, likewise."""


def build_app(given: Collection[str]) -> App:
    """The command line as a whole.

    Args:
        given: The words of the call. What they do not name is not imported, and is told in one line.
    """
    app = App(
        name="web4",
        help="A runtime for agents that have to be trusted.",
        version_flags=(),
        help_format="markdown",
    )
    journal = App(
        name="journal",
        help="Look at a journal, keep it, move it: beside its running node, or without.",
        version_flags=(),
        help_format="markdown",
    )
    app.command(journal)
    app.command(
        "web4.cli.version:version",
        name="version",
        help=None if "version" in given else "Say which Web4 this is.",
        help_format="markdown",
    )
    app.command(
        "web4.cli.doctor:doctor",
        name="doctor",
        help=None
        if "doctor" in given
        else "Say what protects this machine from extensions, and what is missing.",
        help_format="markdown",
    )
    app.command(
        "web4.cli.demo:demo",
        name="demo",
        help=None
        if "demo" in given
        else "Let two agents meet, trust each other and outlast a third one, in processes of their own.",
        help_format="markdown",
    )
    extensions = App(
        name="ext",
        help="Find extensions, look at them, let them run, call them.",
        version_flags=(),
        help_format="markdown",
    )
    app.command(extensions)
    _add(app, "node", NODE, given)
    _add(journal, "journal", JOURNAL, given)
    _add(extensions, "extensions", EXTENSIONS, given)
    return app


def _add(group: App, room: str, verbs: Mapping[str, str], given: Collection[str]) -> None:
    """Add the verbs of a group, each a module of `room` of the same name."""
    for place, (name, summary) in enumerate(verbs.items()):
        group.command(
            f"web4.cli.{room}.{name}:{name}",
            name=name,
            help=None if name in given else summary,
            sort_key=place,
            help_format="markdown",
        )
