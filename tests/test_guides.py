"""The programs of the guides run as they stand."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from web4 import rtt
from web4.ext.hooks import LOOP_POINTS

GUIDES = Path(__file__).parents[1] / "docs" / "guides"


def extract(guide: str, directory: Path) -> None:
    text = (GUIDES / guide).read_text()
    for name, program in re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", text, flags=re.DOTALL):
        (directory / name).write_text(program)


def test_docs_links_of_guides_lead_somewhere() -> None:
    """Every relative link of a guide names a file that is there."""
    guides = sorted(GUIDES.glob("*.md"))
    assert len(guides) > 4
    for guide in guides:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", guide.read_text()):
            assert (GUIDES / target).exists(), f"{guide.name}: {target}"


def test_docs_examples_run_observing_a_transport(tmp_path: Path) -> None:
    """The hooks are called in order, and the metrics count what was done."""
    extract("observing-a-transport.md", tmp_path)
    ran = subprocess.run(
        [sys.executable, "observe.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    hooks = [line for line in lines if line.startswith("on_")]
    assert hooks[:2] == ["on_open ", "on_channel "]
    assert [line for line in lines if not line.startswith("on_")] == [
        "messages sent: 3",
        "p95 known: True",
        "sessions over: 1",
    ]


def run_as_shown(guide: str, program: str, directory: Path) -> tuple[str, list[str]]:
    """What a program of a guide prints, and what the guide says that its programs print."""
    extract(guide, directory)
    ran = subprocess.run(
        [sys.executable, program], cwd=directory, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    shown = re.findall(r"\nIt prints\n\n```\n(.*?)```", (GUIDES / guide).read_text(), flags=re.DOTALL)
    return ran.stdout, shown


def test_docs_examples_run_reconnecting(tmp_path: Path) -> None:
    """RTT-25, RTT-45: the session survives the first break, not the second; the page shows what the program prints."""
    printed, shown = run_as_shown("reconnecting.md", "reconnecting.py", tmp_path)
    assert [printed] == shown


def test_docs_examples_run_writing_a_transport(tmp_path: Path) -> None:
    """RTT-66, RTT-67: the transport keeps the contract and carries a session; the faults of a memory network happen."""
    printed, shown = run_as_shown("writing-a-transport.md", "metered.py", tmp_path)
    assert [printed] == shown
    printed, _ = run_as_shown("writing-a-transport.md", "weather.py", tmp_path)
    assert printed == "arrived: 20000 bytes on carrier 1\n"


def test_docs_writing_a_transport_names_what_there_is() -> None:
    """Its two tables list the protocols whole, and nothing else."""
    first, second = (GUIDES / "writing-a-transport.md").read_text().split("| of an acceptor |")
    for protocol, table in ((rtt.Transport, first), (rtt.Acceptor, second.partition("\n\n")[0])):
        listed = re.findall(r"^\| `(\w+)", table, flags=re.MULTILINE)
        assert sorted(listed) == sorted(name for name in vars(protocol) if not name.startswith("_"))


def test_docs_reconnecting_names_options_as_they_are() -> None:
    """The options of the table exist, and have the defaults that it says."""
    units = {"": 1, " s": 1, " MiB": 1 << 20, " GiB": 1 << 30}
    table = (GUIDES / "reconnecting.md").read_text().partition("| option | default |")[2]
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", table, flags=re.MULTILINE)
    said = {
        name: float(number.replace(",", "")) * units[unit]
        for names, values in rows
        for name, (number, unit) in zip(
            re.findall(r"`(\w+)`", names), re.findall(r"(\d[\d,.]*\d|\d)( s| MiB| GiB|)", values), strict=True
        )
    }
    assert len(said) == 11
    assert said == {name: getattr(rtt.Options(), name) for name in said}


def test_docs_examples_run_remembering(tmp_path: Path) -> None:
    """TRUST-7: the program is run twice, in processes of their own; it prints what the page says."""
    extract("remembering.md", tmp_path)
    shown = re.findall(
        r"time(?: it prints)?\n\n```\n(.*?)```", (GUIDES / "remembering.md").read_text(), flags=re.DOTALL
    )
    assert len(shown) == 2
    for printed in shown:
        ran = subprocess.run(
            [sys.executable, "bob.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout == printed


def test_docs_examples_run_two_agents(tmp_path: Path) -> None:
    """Two programs, two processes: the question is asked, taken on, and answered."""
    extract("two-agents.md", tmp_path)
    bob = subprocess.Popen([sys.executable, "bob.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert bob.stdout is not None
        address, fingerprint = bob.stdout.readline().split()
        ada = subprocess.run(
            [sys.executable, "ada.py", address, fingerprint],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ada.returncode == 0, ada.stderr
        assert ada.stdout.splitlines() == ["accepted on it ", "done  {'forecast': 'dry'}"]
        assert bob.stdout.readline() == "asked about the weather by a peer held probing\n"
        bob.send_signal(signal.SIGINT)
        assert bob.wait(timeout=30) == 0
    finally:
        bob.kill()
        bob.wait()
        assert bob.stdout is not None
        bob.stdout.close()


def test_docs_examples_run_embed_in_your_agent_loop(tmp_path: Path) -> None:
    """LOOP-8: a loop that is not ours answers over TCP; embedding it takes at most 30 lines."""
    extract("embed-in-your-agent-loop.md", tmp_path)
    program = (tmp_path / "embed.py").read_text().splitlines()
    assert len([line for line in program if line.strip()]) <= 30
    shown = re.findall(
        r"prints\n\n```\n(.*?)```", (GUIDES / "embed-in-your-agent-loop.md").read_text(), re.DOTALL
    )
    embedded = subprocess.Popen(
        [sys.executable, "embed.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert embedded.stdout is not None
        address, fingerprint = embedded.stdout.readline().split()
        asked = subprocess.run(
            [sys.executable, "ask.py", address, fingerprint],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert asked.returncode == 0, asked.stderr
        assert [asked.stdout] == shown
    finally:
        embedded.kill()
        embedded.communicate()


def test_docs_examples_run_asking_a_person(tmp_path: Path) -> None:
    """HCP-3, HCP-5: the program of the page is the example of the repository, and prints what the page says."""
    extract("asking-a-person.md", tmp_path)
    program = tmp_path / "asking_a_person.py"
    example = GUIDES.parents[1] / "examples" / "humans" / "asking_a_person.py"
    assert program.read_text() == example.read_text()
    ran = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        input="yes\nyes\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    text = (GUIDES / "asking-a-person.md").read_text()
    assert re.findall(r"\nIt prints\n\n```\n(.*?)```", text, flags=re.DOTALL) == [ran.stdout]


def test_docs_examples_run_a_mesh(tmp_path: Path) -> None:
    """MESH-1: three nodes, one of them a hop that hears nothing; the page shows what the program prints."""
    printed, shown = run_as_shown("a-mesh.md", "three.py", tmp_path)
    assert [printed] == shown


def test_docs_embed_in_your_agent_loop_names_what_there_is() -> None:
    """Its points are those of the loop, in order."""
    text = (GUIDES / "embed-in-your-agent-loop.md").read_text()
    (listed,) = re.findall(r"^The points are (.*)\.$", text, flags=re.MULTILINE)
    assert tuple(re.findall(r"`(\w+)`", listed)) == LOOP_POINTS


def test_docs_examples_run_observing_a_node(tmp_path: Path) -> None:
    """OBS-1, OBS-4, OBS-5, OBS-7: a whole node with every sink; no gap, no words, and the reasons."""
    printed, shown = run_as_shown("observing-a-node.md", "watch.py", tmp_path)
    assert [printed] == shown
