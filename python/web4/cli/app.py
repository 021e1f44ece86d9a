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
    "up": "Run the node of a data directory in the foreground, until Ctrl-C: it stops in order.",
    "down": "Ask the running node to stop in order, and wait until its process has ended.",
    "status": "Say how the node is: who, since when, its journal, peers by trust, questions that wait, warnings.",
}
"""The verbs of a node as a whole, likewise."""

PEER: Final = {
    "add": "Name a peer in peers.toml; a running node knows it, and dials it, at once.",
    "ls": "List the peers that the node knows: those of peers.toml, and those that it heard of.",
    "show": "Show what is known of a peer.",
    "rm": "Take a peer out of peers.toml; a running node forgets its addresses and dials it no more.",
}
TRUST: Final = {
    "ls": "List how far each peer is trusted of whom there is a record.",
    "show": "Show how far a peer is trusted, and what is held about it.",
    "why": "Say why a peer is trusted as far as it is: each event of its trust log, with time, actor and evidence.",
    "anchor": "Trust a peer from now on, on your word.",
    "promote": "Raise a peer by one step: to probing, or from there to trusted.",
    "block": "Blacklist a peer and revoke its key: nothing it signed counts any more.",
    "override": "Take a peer off the blacklist, to probing; its key counts again.",
}
IDENTITY: Final = {
    "show": "Show who the node is: its fingerprint and its public key.",
    "new": "Make a new key.",
    "export": "Print what others need to name this node: a [[peer]] for their peers.toml.",
    "rotate": "Give the node a new key. That is a new identity: nobody trusts it yet, and it begins with nothing.",
}
CLAIM: Final = {
    "propose": "Let the node propose a fact, to itself and to every peer that it trusts.",
    "ls": "List the claims of the ledger, and what the node makes of each.",
    "show": "Show a claim: who proposed it, who votes how, what the node makes of it, and the events that led there.",
    "confirm": "Let the node vote for a claim, on evidence of its own, here and at every peer that it trusts.",
    "reject": "Let the node vote against a claim, on evidence of its own, here and at every peer that it trusts.",
    "challenge": "Let the node doubt a claim, here and at every peer that it trusts.",
    "withdraw": "Take back what the node says against a claim: its vote confirms from now on.",
    "resolve": "Decide about a claim yourself: on this node that goes before every vote.",
}
SOURCE: Final = {
    "ls": "List how far sources on the internet are trusted, and how their claims did.",
    "tier": "Say how far a source is trusted: the one way out of blocked.",
    "block": "Believe a source nothing any more: its open claims are rejected, accepted ones disputed.",
}
EVIDENCE: Final = {
    "show": "Show how pages came here that were fetched: from where, when, over which addresses, and their digests.",
    "export": "Write what was fetched as a WARC file, with the record of how it came here beside each body.",
}
CONSENT: Final = {
    "ls": "List what humans consent to: those of this node, and those at peers.",
    "grant": "Consent to every topic.",
    "limit": "Consent to these topics, and to nothing else.",
    "revoke": "Take all consent back.",
    "asked": "List the questions to humans of this node that wait for an answer.",
    "answer": "Answer a question: yes lets pass what waits, no ends it.",
}
MESH: Final = {
    "topology": "Show the network as the node sees it: who is known, who is linked to whom, who is trusted, what is "
    "offered.",
    "routes": "List the ways that the running node takes: to whom, over whom, at what cost.",
    "demo": "Run a ring of nodes, each in a process of its own, cut it, kill some of them, and see that the mesh "
    "heals.",
}
GROUPS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "id": ("Look at the node's identity, make one, give it to others.", IDENTITY),
    "peer": ("Name peers, and look at those that are known.", PEER),
    "trust": ("See how far peers are trusted and why, and say otherwise.", TRUST),
    "claim": ("See what the node holds for true, and have a say in it.", CLAIM),
    "source": ("See how far sources on the internet are trusted, and say otherwise.", SOURCE),
    "evidence": ("Look at what was fetched, and take it elsewhere.", EVIDENCE),
    "consent": ("Say what you consent to, and answer what you are asked.", CONSENT),
    "mesh": ("Look at the network as the node sees it.", MESH),
}
"""The groups of verbs about a node: what each is for, and its verbs, each a module of the room of the same name."""


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
        "web4.cli.completion:completion",
        name="completion",
        help=None
        if "completion" in given
        else "Print what lets a shell complete verbs and options of `web4`.",
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
    _add(journal, "journal", JOURNAL, given if "journal" in given else ())
    _add(extensions, "extensions", EXTENSIONS, given if "ext" in given else ())
    for name, (purpose, verbs) in GROUPS.items():
        group = App(name=name, help=purpose, version_flags=(), help_format="markdown")
        app.command(group)
        _add(group, name, verbs, given if name in given else ())
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
