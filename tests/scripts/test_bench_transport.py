"""The benchmark of transports measures what it says, of every peer that needs no environment of its own."""

from __future__ import annotations

import errno
import socket
from collections import deque
from typing import TYPE_CHECKING, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.bench import catalog, goals, proxy
from scripts.bench.credentials import write_credentials
from scripts.bench.figures import END, FIGURES, Figure, Task
from scripts.bench.framing import FramedLink, frame_many
from scripts.bench.ledger import Ledger
from scripts.bench.load_messages import count, ping
from scripts.bench.processes import Pair, PeerFailedError
from scripts.bench.report import failures, table
from scripts.bench.robustness import Outcome, account
from scripts.bench.rounds import Run, Settings, Spread, run
from scripts.bench.side import Hello
from scripts.bench.transport import SHORT_FIGURES

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from scripts.bench.figures import Kind, Measurement
    from scripts.bench.side import Side

T = TypeVar("T")
NO_SIDE = cast("Side", None)


class Loop:
    """A link whose receiver gets what its sender sends."""

    def __init__(self) -> None:
        self.messages: deque[bytes] = deque()

    async def send(self, message: bytes) -> None:
        self.messages.append(message)

    async def send_many(self, messages: list[bytes]) -> None:
        self.messages.extend(messages)

    async def receive(self) -> bytes:
        return self.messages.popleft()

    async def receive_many(self) -> list[bytes]:
        messages = list(self.messages)
        self.messages.clear()
        return messages


def run_now(coroutine: Coroutine[object, None, T]) -> T:
    """Run a coroutine that never suspends, and return its result."""
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    return cast("T", stop.value.value)


@given(st.lists(st.binary(max_size=300), min_size=1), st.integers(1, 50))
def test_framing_survives_any_fragmentation(messages: list[bytes], step: int) -> None:
    wire = b"".join(frame_many(messages))
    chunks = deque(wire[at : at + step] for at in range(0, len(wire), step))

    async def read() -> bytes:
        return chunks.popleft() if chunks else b""

    async def write(_data: bytes) -> None:
        raise AssertionError("nothing is sent here")

    link = FramedLink(write, read)
    assert [run_now(link.receive()) for _ in messages] == messages
    with pytest.raises(EOFError):
        link.receive().send(None)


def test_large_messages_are_written_one_by_one_and_small_ones_together() -> None:
    assert len(frame_many([bytes(65536)] * 8)) == 8
    assert len(frame_many([bytes(1024)] * 64)) == 1


def test_only_what_follows_the_warm_up_is_counted() -> None:
    """The first message ends a warm-up of 0 s and starts the clock: 9 of 10 are counted, the end mark is not."""
    link = Loop()
    link.messages.extend([b"x"] * 10 + [END])
    measurement = run_now(count(link, Task(FIGURES["one_way_64_each"], 0, 1, 1), NO_SIDE))
    assert measurement["messages"] == 9
    assert measurement["rate"] == pytest.approx(9 / measurement["seconds"])


def test_a_ping_pong_takes_its_samples_and_ends() -> None:
    link = Loop()
    measurement = run_now(ping(link, Task(FIGURES["ping_pong_64"], 0, 60, 500), NO_SIDE))
    assert measurement["messages"] == 500
    assert 0 < measurement["p50_us"] <= measurement["p99_us"] <= measurement["max_us"]
    assert list(link.messages) == [END]


@pytest.mark.parametrize("peer", catalog.LOCAL)
def test_every_peer_carries_every_figure(peer: str) -> None:
    """Section 22: two processes, every figure the peer carries; the report has a row and a value for each."""
    settings = Settings(rounds=1, warm_up=0.0, seconds=0.2, samples=20, figures=SHORT_FIGURES)
    found = run({peer: catalog.module(peer)}, settings)
    assert found.failures == {}
    carried = [name for name in SHORT_FIGURES if FIGURES[name].needs <= set(found.about[peer].kinds)]
    assert {"one_way_1k", "ping_pong_1k"} <= set(carried)
    assert set(found.results[peer]) == set(carried)
    for figure in carried:
        value = found.results[peer][figure]
        assert value["rate" if FIGURES[figure].kind == "one_way" else "p50_us"].min > 0
        assert value["server_cpu_us"].min > 0
    assert peer in table(found.results, SHORT_FIGURES, {})


@pytest.mark.parametrize("kind", ["idle", "crowd"])
def test_sessions_are_opened_weighed_and_used(kind: str, tmp_path: Path) -> None:
    write_credentials(tmp_path)
    figure = Figure("few", cast("Kind", kind), 64, count=12)
    with Pair(catalog.module("rtt"), tmp_path, pin=None, path=[]) as pair:
        seen, _ = pair.measure(Task(figure, 0, 0.02, 10))
    assert seen["server"]["messages"] == 12
    assert "session_kib" in seen["client"]
    assert kind == "idle" or seen["client"]["p99_us"] > 0


class _Hangs:
    """A peer that never opens."""

    LOOP = "blocking"
    ENCRYPTED = False

    @staticmethod
    def open_link(side: Side) -> object:
        return run_now(side.sleep(60))


hangs = _Hangs()


def test_a_peer_that_is_absent_costs_its_own_row_only() -> None:
    settings = Settings(1, 0.0, 0.1, 20, ["one_way_1k"])
    peers = {"absent": "scripts.bench.peers.there_is_no_such_peer", "raw_tcp": catalog.module("raw_tcp")}
    found = run(peers, settings)
    assert found.failures["absent"]["open"].startswith("ModuleNotFoundError")
    assert found.results["raw_tcp"]["one_way_1k"]["rate"].min > 0
    assert any("make bench-peers" in line for line in failures(found))
    assert "raw_tcp" in table({"raw_tcp": found.results["raw_tcp"], "absent": {}}, ["one_way_1k"], {})


def test_a_peer_that_hangs_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.bench.processes._OPEN_LIMIT", 1.0)
    found = run({"hanging": f"{__name__}:hangs"}, Settings(1, 0.0, 0.1, 20, ["one_way_1k"]))
    assert found.failures == {"hanging": {"open": "no answer within 1 s"}}
    assert found.results == {"hanging": {}}


def _run(rates: dict[str, float]) -> Run:
    """A run in which every peer has one rate for the figure `one_way_1k`."""
    results = {peer: {"one_way_1k": {"rate": Spread(rate, rate, rate)}} for peer, rate in rates.items()}
    about = {peer: Hello("trio", peer != "raw_tcp", [], {}, {}) for peer in rates}
    return Run(results, about, {})


def test_a_goal_is_against_the_best_encrypted_peer() -> None:
    """Raw TCP does not count; of two message transports the faster does, and a stream stands for itself."""
    found = goals.verdicts(
        _run({"raw_tcp": 900.0, "uvloop_tls": 300.0, "slow": 100.0, "fast": 200.0, "rtt": 230.0})
    )
    goal, stream = (verdict for verdict in found if verdict.goal.startswith("one_way_1k >="))
    assert goal.measured == pytest.approx(1.15)
    assert goal.against == "fast 200, ours 230"
    assert goal.met is False
    assert stream.against == "uvloop_tls 300, ours 230"
    assert next(verdict for verdict in found if verdict.goal.startswith("one_way_64 ")).met is None
    assert "not measured" in goals.table(found)


def test_what_was_accepted_and_did_not_come_is_lost() -> None:
    seen: dict[str, Measurement] = {
        "client": {"accepted": 10, "refused": 1, "reported": 2, "sender_growth_mib": 0.5, "send_s": 1},
        "server": {"distinct": 7, "twice": 1, "reordered": 0},
    }
    figures = account(seen)
    assert (figures["lost"], figures["twice"]) == (3, 1)
    found = goals.verdicts(_run({"rtt": 1.0}), [Outcome("rtt", "resets", "", figures)])
    met = {verdict.goal: verdict.met for verdict in found}
    assert met["resets: 0 lost"] is False
    assert met["resets: 0 reordered"] is True
    assert met["stall: 0 lost"] is None


@given(st.lists(st.integers(0, 30)))
def test_the_ledger_agrees_with_a_slow_account(numbers: list[int]) -> None:
    ledger = Ledger(31)
    for number in numbers:
        ledger.take(number)
    first_seen = list(dict.fromkeys(numbers))
    assert ledger.distinct == len(first_seen)
    assert ledger.twice == len(numbers) - len(first_seen)
    late = sum(number < max(first_seen[:at], default=-1) for at, number in enumerate(first_seen))
    assert ledger.reordered == late


def test_the_proxy_forwards_holds_and_resets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        middle = proxy.Proxy(listener.getsockname()[1])

        def pump() -> None:
            for _ in range(6):
                middle.turn(0.01)

        near = socket.create_connection(("127.0.0.1", middle.port))
        pump()
        far, _ = listener.accept()
        near.sendall(b"through")
        pump()
        assert far.recv(100) == b"through"
        middle.hold()
        near.sendall(b"held")
        pump()
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            far.recv(100)
        assert middle.reset().connections == 1
        for end in (near, far):
            with pytest.raises(ConnectionResetError) as error:
                end.recv(100)
            assert error.value.errno == errno.ECONNRESET
            end.close()
        assert middle.look().connections == 0
        again = socket.create_connection(("127.0.0.1", middle.port))
        pump()
        far, _ = listener.accept()
        far.sendall(b"back")
        pump()
        assert again.recv(100) == b"back"
        again.close()
        pump()
        assert far.recv(100) == b""
        far.close()


def test_a_child_that_ends_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(PeerFailedError, match="AttributeError"):
        Pair(f"{__name__}:there_is_no_such_name", tmp_path, pin=None, path=[])
