"""What verbs there are. Each is imported when it is called, or when its help is asked for."""

from __future__ import annotations

from cyclopts import App

_JOURNAL = (
    "tail",
    "history",
    "stats",
    "verify",
    "replay",
    "export",
    "backup",
    "compact",
    "repair",
    "migrate",
)


def build_app() -> App:
    """The command line as a whole."""
    app = App(
        name="web4",
        help="A runtime for agents that have to be trusted.",
        version="",
        version_flags=(),
        help_format="markdown",
        result_action="return_value",
    )
    journal = App(
        name="journal",
        help="Look at a journal, keep it, move it: beside its running node, or without.",
        version_flags=(),
        help_format="markdown",
    )
    app.command(journal)
    for name in _JOURNAL:
        journal.command(f"web4.cli.journal.{name}:{name}", name=name, help_format="markdown")
    return app
