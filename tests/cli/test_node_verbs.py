"""The verbs about a node, beside two that run, and of one at rest (UX-1 to UX-4, UX-8 to UX-10)."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.command import Done, here, process
from tests.cli.nodes import UpNode, fine, made, until, up
from web4.cli.app import GROUPS, NODE, build_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
VERBS: list[tuple[str, ...]] = [(verb,) for verb in NODE] + [
    (group, verb) for group, (_, verbs) in GROUPS.items() for verb in verbs
]
SUMMARIES: dict[tuple[str, ...], str] = {(verb,): text for verb, text in NODE.items()}
SUMMARIES |= {(group, verb): text for group, (_, verbs) in GROUPS.items() for verb, text in verbs.items()}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[UpNode, UpNode]]:
    """Ada and Bob run; Ada dials Bob, and each has named the other."""
    place = tmp_path_factory.mktemp("nodes")
    with up(place / "ada") as ada, up(place / "bob") as bob:
        fine(process("peer", "add", "ada", ada.fingerprint, "--data", bob.data))
        added = fine(
            process("peer", "add", "bob", bob.fingerprint, bob.address, "--data", ada.data, "--json")
        )
        assert added.data["node_told"] is True
        until(lambda: connected(process("peer", "show", "bob", "--data", ada.data, "--json").data))
        yield ada, bob


def connected(row: dict[str, Any]) -> bool:
    return bool(row["connected"] and row["live"] and row["trust"] != "unknown")


@pytest.fixture
def ada(pair: tuple[UpNode, UpNode]) -> Path:
    """Ada's data directory."""
    return pair[0].data


def told(capfd: Capture, data: Path, *words: object, exit_: int = 0) -> dict[str, Any]:
    """What a verb says to programs."""
    done = here(capfd, *words, "--data", data, "--json")
    assert done.exit == exit_, done
    found: dict[str, Any] = done.data
    return found


def shown(capfd: Capture, data: Path, *words: object) -> str:
    """What a verb says to people."""
    out = fine(here(capfd, *words, "--data", data)).out
    assert out
    return out


# --- help ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help(verb: tuple[str, ...], capfd: Capture) -> None:
    """UX-2: every verb has help with an example, its common options, and begins as the list says of it."""
    done = here(capfd, *verb, "--help")
    assert done.exit == 0
    text = " ".join(done.out.split())
    assert f"web4 {' '.join(verb)}" in text.partition("Usage")[2].partition("│")[0]
    common = (
        {"--json"} if verb[-1] == "demo" else {"--json", "--quiet", "--data", "--config"}
    )  # a demo has nodes of its own
    assert common <= set(re.findall(r"--\w+", text))
    assert SUMMARIES[verb].replace("`", "")[:60] in text.replace("`", "")


def examples(verb: tuple[str, ...]) -> list[list[str]]:
    """What the help of a verb shows."""
    room = verb[0] if len(verb) > 1 else "node"
    function = getattr(importlib.import_module(f"web4.cli.{room}.{verb[-1]}"), verb[-1])
    [block] = re.findall(r"```\n(.*?)```", function.__doc__, re.DOTALL)
    return [shlex.split(line.partition(" > ")[0]) for line in block.strip().splitlines()]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_examples_are_understood(verb: tuple[str, ...]) -> None:
    """UX-2: every help has an example, and it fits the verb. The guide's test, and those below, run them."""
    found = examples(verb)
    assert found
    for words in found:
        assert tuple(words[1 : 1 + len(verb)]) == verb
        command, _, _ = build_app(words).parse_args(words[1:], print_error=False, exit_on_error=False)
        assert command.__name__ == verb[-1]


@pytest.mark.parametrize(("place", "mode"), [("identity/node.pem", 0o640), ("identity", 0o755), ("", 0o777)])
def test_key_permissions(tmp_path: Path, place: str, mode: int) -> None:
    """ID-2: a node whose key others could read or replace does not start, and says what to run."""
    data = tmp_path / "ada"
    made(data)
    (data / place).chmod(mode)
    refused = process("up", "--data", data, "--json")
    assert refused.exit == 3, refused
    assert refused.code in {"key_permissions", "directory_permissions"}
    assert (
        f"chmod {'0600' if place.endswith('pem') else '0700' if place else 'go-w'} {data / place}"
        in refused.out
    )
    assert not (data / "journal").exists()


# --- beside running nodes -----------------------------------------------------------------------------------


def test_status(ada: Path, capfd: Capture) -> None:
    """UX-9: who it is, since when, where its journal is, peers by trust, warnings."""
    data = told(capfd, ada, "status", "--check")
    assert data["running"] is True
    assert data["name"] == "ada"
    assert len(data["sessions"]) == 1
    assert sum(data["peers"].values()) == 1
    assert data["journal"]["state"] == "ready"
    assert re.fullmatch(r"[0-9a-f]{64}", data["journal"]["digest"])
    assert data["warnings"] == []
    assert re.search(r"^runs +for ", shown(capfd, ada, "status"), re.MULTILINE)


def test_identity(pair: tuple[UpNode, UpNode], capfd: Capture, tmp_path: Path) -> None:
    """Who it is, for people and for a peers file; the private key is in neither. A key is never written over."""
    node = pair[0]
    data = told(capfd, node.data, "id", "show")
    assert data["fingerprint"] == node.fingerprint
    assert data["addresses"] == [node.address]
    assert node.fingerprint in shown(capfd, node.data, "id", "show")
    exported = told(capfd, node.data, "id", "export")
    assert exported["peer"] == {"name": "ada", "fingerprint": node.fingerprint, "addresses": [node.address]}
    text = shown(capfd, node.data, "id", "export")
    assert "PRIVATE" not in text
    other = tmp_path / "other"
    made(other)
    (other / "peers.toml").write_text(text)
    assert told(capfd, other, "peer", "show", "ada")["addresses"] == [node.address]
    key = tmp_path / "keys" / "spare.pem"
    new = told(capfd, node.data, "id", "new", key)
    assert new["file"] == str(key)
    assert key.stat().st_mode & 0o777 == 0o600
    again = here(capfd, "id", "new", key, "--json")
    assert (again.code, again.exit) == ("key_exists", 7)


def test_peers(pair: tuple[UpNode, UpNode], capfd: Capture) -> None:
    """UX-10: by name, by prefix, whole; a running node hears of what is added and removed at once."""
    ada, bob = pair
    rows = told(capfd, ada.data, "peer", "ls")["peers"]
    assert [(one["name"], one["connected"], one["agent_id"]) for one in rows] == [("bob", True, "bob")]
    assert re.search(r"bob .* up ", shown(capfd, ada.data, "peer", "ls"))
    for word in ("bob", bob.fingerprint, bob.fingerprint[:8], bob.fingerprint[:12].upper()):
        assert told(capfd, ada.data, "peer", "show", word)["fingerprint"] == bob.fingerprint
    assert "calls itself  bob" in shown(capfd, ada.data, "peer", "show", "bob")
    stranger = "5a" * 32
    added = told(capfd, ada.data, "peer", "add", "carol", stranger, "--human", "carla")
    assert added["node_told"] is True
    assert told(capfd, ada.data, "peer", "show", "carol")["human"] == "carla"
    assert "carol is 5a5a5a5a5a5a5a5a" in shown(capfd, ada.data, "peer", "rm", "5a5a5a5a").replace(
        "(5a5a", "is 5a5a"
    )
    names = [one["name"] for one in told(capfd, ada.data, "peer", "ls")["peers"]]
    assert names == ["bob"]


def test_trust(ada: Path, capfd: Capture) -> None:
    """UX-10: acts are attributed, each with its reason; `why` has all of them, with evidence and time."""
    acts = [
        ("block", "its key was stolen", "blacklisted"),
        ("override", "it was not", "probing"),
        ("promote", "vouched for", "trusted"),
    ]
    for act, reason, state in acts:
        data = told(capfd, ada, "trust", act, "bob", "--reason", reason, "--as", "grace")
        assert (data["to"], data["moved"]) == (state, True)
    assert told(capfd, ada, "trust", "override", "bob", "--reason", "again", exit_=1)["moved"] is False
    assert "stays trusted" in shown(capfd, ada, "trust", "anchor", "bob", "--reason", "met", "--as", "grace")
    rows = told(capfd, ada, "trust", "ls")["peers"]
    assert [(one["name"], one["state"]) for one in rows] == [("bob", "trusted")]
    assert "trusted" in shown(capfd, ada, "trust", "ls")
    assert told(capfd, ada, "trust", "show", "bob")["counts"]["operator_block"] == 1
    assert "completed" in shown(capfd, ada, "trust", "show", "bob")
    why = told(capfd, ada, "trust", "why", "bob")
    said = [(one["event"], one["actor"], one["reason"]) for one in why["events"]]
    assert ("operator_block", "grace", "its key was stolen") in said
    assert ("manual_override", "grace", "it was not") in said
    assert ("anchored", "grace", "met") in said
    assert why["events"][0]["from"] == "unknown"
    assert [one["seq"] for one in why["events"]] == list(range(1, len(said) + 1))
    moved = told(capfd, ada, "trust", "why", "bob", "--moved")["events"]
    assert [one["to"] for one in moved][-3:] == ["blacklisted", "probing", "trusted"]
    text = shown(capfd, ada, "trust", "why", "bob")
    assert re.search(
        r"^\d{4}-.*Z  \w+ → blacklisted +operator_block by grace\n +reason +its key", text, re.MULTILINE
    )


def test_claims(ada: Path, capfd: Capture) -> None:
    """Proposed, doubted, taken back, voted on and decided, each time with what the node makes of it."""
    proposed = told(
        capfd, ada, "claim", "propose", "The Rhine\x1b[31m flows north", "--domain", "geography",
        "--source", "https://example.org/rhine", "--triple", "Rhine", "flows", "north", "--because", "seen",
    )  # fmt: skip
    key, short = proposed["key"], proposed["key"][:8]
    assert proposed["status"] == "pending"
    assert "pending" in shown(
        capfd,
        ada,
        "claim",
        "propose",
        "Bonn is on it",
        "--domain",
        "geography",
        "--source",
        "https://a.example",
    )
    assert told(capfd, ada, "claim", "challenge", short, "--reason", "conflict")["status"] == "disputed"
    assert "disputed" in shown(capfd, ada, "claim", "challenge", key)
    rows = told(capfd, ada, "claim", "ls", "--status", "disputed")["claims"]
    assert [one["key"] for one in rows] == [key]
    page = told(capfd, ada, "claim", "ls", "--limit", "1")
    assert len(page["claims"]) == 1
    rest = told(capfd, ada, "claim", "ls", "--after", page["next"])
    assert {page["claims"][0]["key"], rest["claims"][0]["key"]} >= {key}
    assert told(capfd, ada, "claim", "withdraw", short, "--told", "looked again")["status"] == "pending"
    again = here(capfd, "claim", "withdraw", short, "--told", "x", "--data", ada, "--json")
    assert (again.code, again.exit) == ("nothing_to_withdraw", 7)
    assert "rejected" not in shown(capfd, ada, "claim", "reject", short, "--told", "no, it does not")
    assert "pending" in shown(capfd, ada, "claim", "withdraw", short, "--told", "it does")
    assert told(capfd, ada, "claim", "confirm", short, "--told", "I saw it")["confirms"] == 1
    none = here(capfd, "claim", "confirm", short, "--data", ada, "--json")
    assert (none.code, none.exit) == ("no_own_evidence", 5)
    assert (
        told(capfd, ada, "claim", "resolve", short, "accept", "--reason", "checked", "--as", "grace")[
            "human"
        ]["human"]
        == "grace"
    )
    assert "accepted" in shown(capfd, ada, "claim", "resolve", short, "accept", "--reason", "checked")
    data = told(capfd, ada, "claim", "show", proposed["proposers"] and short)
    assert [one["type"] for one in data["events"]][:1] == ["knowledge.proposed"]
    text = shown(capfd, ada, "claim", "show", key) + shown(capfd, ada, "claim", "ls")
    assert "\x1b" not in text
    assert "\\x1b[31m flows north" in text


def test_sources(ada: Path, capfd: Capture) -> None:
    """LIP-2: a human moves a source, by host or address; what is meant is the registrable domain."""
    moved = told(capfd, ada, "source", "tier", "https://www.example.net/a", "high", "--reason", "known")
    assert (moved["domain"], moved["was"], moved["tier"]) == ("example.net", "unknown", "high")
    assert "example.net: high → blocked" in shown(
        capfd, ada, "source", "block", "example.net", "--reason", "lies"
    )
    rows = told(capfd, ada, "source", "ls")["sources"]
    assert ("example.net", "blocked") in [(one["domain"], one["tier"]) for one in rows]
    assert re.search(r"example\.net +blocked", shown(capfd, ada, "source", "ls"))


def test_consents(ada: Path, capfd: Capture) -> None:
    """HCP-4: acts of a human at this terminal. How the human is, is nowhere in what is told (HCP-11)."""
    unknown = here(capfd, "consent", "grant", "grace", "--data", ada, "--json")
    assert (unknown.code, unknown.exit) == ("unknown_human", 6)
    assert told(capfd, ada, "consent", "grant", "grace", "--new", "--name", "Grace")["consent"] == "granted"
    limited = told(capfd, ada, "consent", "limit", "grace", "garden", "topic:work/reviews")
    assert limited["scope"] == ["topic:garden", "topic:work/reviews"]
    assert "limited to topic:a" in shown(capfd, ada, "consent", "limit", "grace", "a")
    assert "grace: revoked" in shown(capfd, ada, "consent", "revoke", "grace")
    assert "grace: granted" in shown(capfd, ada, "consent", "grant", "grace")
    told(capfd, ada, "consent", "revoke", "grace")
    done = here(capfd, "consent", "ls", "--data", ada, "--json")
    [row] = [one for one in done.data["humans"] if one["human"] == "grace"]
    assert (row["name"], row["consent"]) == ("Grace", "revoked")
    assert not re.search("affect|pressure|clarity|presence", done.out)
    assert re.search(r"grace +here +Grace +owner +revoked", shown(capfd, ada, "consent", "ls"))
    assert told(capfd, ada, "consent", "asked")["check_ins"] == []
    assert "nothing waits" in shown(capfd, ada, "consent", "asked", "grace")
    bad = here(capfd, "consent", "limit", "grace", "not a topic", "--data", ada, "--json")
    assert (bad.code, bad.exit) == ("invalid_payload", 2)


def test_consent_renames_nobody(ada: Path, capfd: Capture) -> None:
    """UX-4: `--new` for a human who is known is no way to another name, and says so; said again as it is, it is fine.

    Nothing is half-done: what was refused has not changed the consent either.
    """
    new = ("consent", "limit", "hedy", "garden", "--new")
    told(capfd, ada, *new, "--name", "Hedy", "--role", "neighbour")
    for more in (("--name", "Lamarr"), ("--name", "Hedy", "--role", "owner")):
        done = here(capfd, "consent", "grant", "hedy", "--new", *more, "--data", ada, "--json")
        assert (done.code, done.exit) == ("human_known", 7)
        assert f"not '{more[-1]}'" in done.out
    for more in (("--name", "Hedy"), ("--role", "neighbour")):
        done = here(capfd, "consent", "grant", "hedy", *more, "--data", ada, "--json")
        assert (done.code, done.exit) == ("usage", 2), "of nobody but a new human is a name taken"
    for again in ([], ["--name", "Hedy"], ["--role", "neighbour"]):
        row = told(capfd, ada, *new, *again)
        assert (row["name"], row["role"], row["consent"]) == ("Hedy", "neighbour", "limited")
    told(capfd, ada, "consent", "revoke", "hedy")
    fresh = told(capfd, ada, "consent", "grant", "rosa", "--new")
    assert (fresh["name"], fresh["role"]) == ("rosa", "owner")
    told(capfd, ada, "consent", "revoke", "rosa")


def test_mesh(pair: tuple[UpNode, UpNode], capfd: Capture) -> None:
    """GRAPH-3: as a table, as its own document, for Graphviz; and the ways that are taken."""
    ada, bob = pair
    graph = told(capfd, ada.data, "mesh", "topology")["graph"]
    assert {ada.fingerprint, bob.fingerprint} <= {one["id"] for one in graph["nodes"]}
    assert re.search(r"this node +agent", shown(capfd, ada.data, "mesh", "topology"))
    assert json.loads(shown(capfd, ada.data, "mesh", "topology", "--format", "json"))["web4_graph"] == "1.0"
    assert shown(capfd, ada.data, "mesh", "topology", "--format", "dot").startswith("digraph web4 {")
    assert "dot" in told(capfd, ada.data, "mesh", "topology", "--format", "dot")
    routes = until(lambda: told(capfd, ada.data, "mesh", "routes")["routes"])
    assert [(one["name"], one["hops"]) for one in routes] == [("bob", 1)]
    assert re.search(r"bob .* direct", shown(capfd, ada.data, "mesh", "routes"))


def test_evidence_of_nothing(ada: Path, capfd: Capture, tmp_path: Path) -> None:
    """What is not there is said; no file is made."""
    assert told(capfd, ada, "evidence", "show") == {"fetches": [], "envelope": None}
    assert "nothing was fetched" in shown(capfd, ada, "evidence", "show")
    none = here(capfd, "evidence", "export", tmp_path / "a.warc.gz", "--data", ada, "--json")
    assert (none.code, none.exit) == ("nothing_kept", 6)
    assert not list(tmp_path.iterdir())


def test_second_node_is_refused(ada: Path) -> None:
    """NDJ-7: the first one goes on."""
    done = process("up", "--data", ada, "--json")
    assert done.exit == 3
    assert done.code in {"journal_locked", "socket_in_use"}
    assert "Traceback" not in done.err


# --- who runs no node, and a node at rest -------------------------------------------------------------------


def test_down_and_at_rest(tmp_path: Path, capfd: Capture) -> None:
    """UX-1, UX-8: it stops in order; the same questions have the same answers out of its journal."""
    questions = [
        ("trust", "ls"), ("trust", "show", "carol"), ("trust", "why", "carol"), ("claim", "ls"),
        ("source", "ls"), ("consent", "ls"), ("consent", "asked"), ("evidence", "show"),
    ]  # fmt: skip
    with up(tmp_path / "ada") as node:
        data = node.data
        told(capfd, data, "peer", "add", "carol", "5a" * 32)
        told(capfd, data, "trust", "anchor", "carol", "--reason", "met", "--as", "grace")
        key = told(capfd, data, "claim", "propose", "Snow is white", "--domain", "snow")["key"]
        told(capfd, data, "source", "tier", "example.org", "low", "--reason", "hasty")
        told(capfd, data, "consent", "limit", "grace", "garden", "--new")
        questions.append(("claim", "show", key))
        running = [told(capfd, data, *words) for words in questions]
        head = told(capfd, data, "status")["journal"]["digest"]
        assert told(capfd, data, "down")["process"] == node.process.pid
        assert node.process.wait(10) == 0
        assert node.process.stdout is not None
        assert json.loads(node.process.stdout.read().splitlines()[-1])["data"] == {"stopped": True}
    assert [told(capfd, data, *words) for words in questions] == running
    status = told(capfd, data, "status")
    assert (status["running"], status["uptime_ms"], status["peers"]) == (False, None, {"trusted": 1})
    assert re.fullmatch(r"[0-9a-f]{64}", head)
    assert told(capfd, data, "peer", "ls")["peers"][0]["connected"] is False
    assert told(capfd, data, "peer", "show", "carol")["trust"] == "trusted"
    assert len(told(capfd, data, "mesh", "topology")["graph"]["nodes"]) == 2
    assert "does not run" in shown(capfd, data, "mesh", "topology")
    assert "anchored by grace" in shown(capfd, data, "trust", "why", "carol")
    assert re.search("runs +no", shown(capfd, data, "status"))
    assert here(capfd, "status", "--check", "--data", data).exit == 3
    assert told(capfd, data, "peer", "rm", "carol")["node_told"] is False
    assert told(capfd, data, "peer", "add", "carol", "5a" * 32)["node_told"] is False
    assert fine(here(capfd, "journal", "verify", data)).out
    assert "human:grace" in fine(here(capfd, "journal", "replay", data)).out


def test_startup_of_the_client_is_lean(pair: tuple[UpNode, UpNode]) -> None:
    """A verb that finds its node running imports neither the node nor the journal, nor any protocol."""
    program = (
        "import sys\nfrom web4.cli import main\ncode = main(sys.argv[1:])\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('web4.')}\n"
        "print(' '.join(sorted(rooms)), file=sys.stderr)\nsys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "trust", "ls", "--data", str(pair[0].data)],
        capture_output=True, text=True, timeout=60, check=True, env=os.environ,
    )  # fmt: skip
    assert set(done.stderr.split()) <= {"_core", "cli", "doors", "foundation"}


# --- mistakes -----------------------------------------------------------------------------------------------

WITH_NODE: dict[str, tuple[tuple[str, ...], str, int]] = {
    "peer that nobody knows": (("peer", "show", "carol"), "unknown_name", 6),
    "prefix too short": (("trust", "show", "{bob:4}"), "name_too_short", 2),
    "prefix of nobody": (("trust", "why", "00000000"), "unknown_name", 6),
    "no reason": (("trust", "block", "bob"), "usage", 2),
    "blank reason": (("trust", "block", "bob", "--reason", " "), "reason_required", 2),
    "blank name": (("trust", "block", "bob", "--reason", "x", "--as", " "), "human_required", 2),
    "name that is taken": (("peer", "add", "bob", "{other}"), "duplicate", 7),
    "fingerprint that is none": (("peer", "add", "carol", "xyz"), "usage", 2),
    "name that is none": (("peer", "add", "Carol!", "{other}"), "usage", 2),
    "address that is none": (("peer", "add", "carol", "{other}", "carol:7440"), "address", 2),
    "itself": (("peer", "add", "me", "{ada}"), "own_peer", 5),
    "peer that is in no file": (("peer", "rm", "carol"), "unknown_name", 6),
    "claim that is not there": (("claim", "show", "00000000"), "unknown_fact_ref", 6),
    "claim that nobody can vote on": (("claim", "confirm", "00000000", "--told", "x"), "unknown_fact_ref", 6),
    "decision that is none": (("claim", "resolve", "00000000", "maybe", "--reason", "x"), "usage", 2),
    "proposal without a domain": (("claim", "propose", "Snow is white"), "usage", 2),
    "functional without a triple": (("claim", "propose", "x", "--domain", "y", "--functional"), "usage", 2),
    "status that is none": (("claim", "ls", "--status", "open"), "usage", 2),
    "too many": (("claim", "ls", "--limit", "501"), "usage", 2),
    "tier that is none": (("source", "tier", "example.org", "best", "--reason", "x"), "usage", 2),
    "source that is none": (("source", "block", "://", "--reason", "x"), "invalid_payload", 2),
    "human that is nobody": (("consent", "revoke", "nobody"), "unknown_human", 6),
    "new human whose id is none": (("consent", "grant", "No One", "--new"), "invalid_payload", 2),
    "question that nobody asked": (("consent", "answer", "00000000", "yes"), "unknown_name", 6),
    "answer that is none": (("consent", "answer", "00000000", "perhaps"), "usage", 2),
    "evidence that is not there": (("evidence", "show", "{other}"), "unknown_name", 6),
    "format that is none": (("mesh", "topology", "--format", "svg"), "usage", 2),
    "verb that is none": (("trust", "give"), "usage", 2),
}


@pytest.mark.parametrize("mistake", WITH_NODE)
def test_mistakes(mistake: str, pair: tuple[UpNode, UpNode], capfd: Capture) -> None:
    """UX-4: a code, a message, the right exit code, and never a traceback."""
    words, code, exit_ = WITH_NODE[mistake]
    ada, bob = pair
    named = [
        one.replace("{bob:4}", bob.fingerprint[:4])
        .replace("{other}", "5a" * 32)
        .replace("{ada}", ada.fingerprint)
        for one in words
    ]
    done = here(capfd, *named, "--data", ada.data, "--json")
    assert (done.code, done.exit) == (code, exit_)
    assert "Traceback" not in done.err
    text = here(capfd, *named, "--data", ada.data)
    assert text.exit == exit_
    assert text.err.startswith("web4: ")


def test_ambiguous_name(tmp_path: Path, capfd: Capture) -> None:
    """UX-10: the matches are listed."""
    made(tmp_path / "ada")
    for number, name in enumerate(("carol", "dave")):
        told(capfd, tmp_path / "ada", "peer", "add", name, f"abcdef0123{number}" + "0" * 53)
    done = here(capfd, "peer", "show", "abcdef0123", "--data", tmp_path / "ada", "--json")
    assert (done.code, done.exit) == ("ambiguous_name", 6)
    message = json.loads(done.out)["error"]["message"]
    assert "(carol)" in message
    assert "(dave)" in message


AT_REST: dict[str, tuple[str, ...]] = {
    "trust": ("trust", "anchor", "carol", "--reason", "x"),
    "claim": ("claim", "propose", "x", "--domain", "y"),
    "source": ("source", "block", "example.org", "--reason", "x"),
    "consent": ("consent", "revoke", "grace"),
    "answer": ("consent", "answer", "00000000", "yes"),
    "down": ("down",),
    "routes": ("mesh", "routes"),
}


@pytest.mark.parametrize("verb", AT_REST)
def test_no_node_runs(verb: str, tmp_path: Path, capfd: Capture) -> None:
    """What only a running node can do says so, and how to run it: exit code 3."""
    made(tmp_path / "ada")
    done: Done = here(capfd, *AT_REST[verb], "--data", tmp_path / "ada", "--json")
    assert (done.code, done.exit) == ("needs_running" if verb == "routes" else "not_running", 3)
    assert json.loads(done.out)["error"]["hint"] == "`web4 up` runs it"


@pytest.mark.parametrize(
    "words", [("status",), ("id", "show"), ("peer", "ls"), ("trust", "ls"), ("peer", "rm", "x"), ("up",)]
)
def test_no_node_is_there(words: tuple[str, ...], tmp_path: Path, capfd: Capture) -> None:
    """No directory, no key: exit code 6, and what makes one. Nothing is made."""
    done = here(capfd, *words, "--data", tmp_path / "nowhere", "--json")
    assert done.exit == 6
    assert json.loads(done.out.splitlines()[-1])["error"]["hint"] == "`web4 init` makes one"
    assert not (tmp_path / "nowhere").exists()
