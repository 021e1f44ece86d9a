"""What becomes of accepted messages when connections are reset or a reader stalls, and how soon a session resumes.

    python -m scripts.bench.robustness [--json] [--messages N] [--stalled-messages N] [--peers ...]

The peers that connect again by themselves run through the same proxy, one after the other, with processes of their
own for each figure.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from scripts.bench import catalog
from scripts.bench.credentials import write_credentials
from scripts.bench.figures import Figure, Measurement, Task
from scripts.bench.load_damage import RESETS, STALL, Sent, Stamps
from scripts.bench.machine import machine
from scripts.bench.meter import percentiles
from scripts.bench.processes import Child, Pair, PeerFailedError, cores
from scripts.bench.proxy import Done
from scripts.bench.side import Address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MESSAGES = 900_000
STALLED_MESSAGES = 400_000
SIZE = 64
STALLED_SIZE = 1024
BATCH = 64
CUTS = 20
HELD = 1_000
_LIMIT = 15.0
_RECONNECT_LIMIT = 5.0
_MOMENT = 0.05


class Outcome(msgspec.Struct, frozen=True):
    """What one peer made of one kind of damage.

    Args:
        peer: Its name.
        damage: `resets`, `stall` or `resume_0`, `resume_1000` after the frames on the way.
        failed: Why there are no figures, or an empty text.
        figures: Messages accepted, refused, lost, reported as not acknowledged, twice, reordered; MiB by which the
            sender grew; connections reset; for `resume`, percentiles of the time from the cut to the first message
            after it.
    """

    peer: str
    damage: str
    failed: str
    figures: Measurement


class _Run:
    """A pair of one peer with a proxy between its sides."""

    def __init__(self, peer: str, credentials: Path) -> None:
        self.proxy: Child | None = None
        self.resets = 0
        try:
            self.pair = Pair(
                catalog.module(peer), credentials, pin=cores(), path=[], through=self._start_proxy
            )
        except BaseException:
            self.end_proxy()
            raise

    def _start_proxy(self, address: Address) -> Address:
        self.proxy = Child(["-m", "scripts.bench.proxy", str(address.port)], [])
        port: int = self.proxy.read(int, _LIMIT)
        return Address(port, address.note)

    def command(self, name: str) -> Done:
        """Have the proxy do something."""
        assert self.proxy is not None
        self.proxy.write(name)
        done: Done = self.proxy.read(Done, _LIMIT)
        return done

    def cut_in_full_flow(self) -> None:
        """Let the sender go on once the peer has had time to connect again, and reset a moment later."""
        give_up = time.monotonic() + _RECONNECT_LIMIT
        while self.command("look").connections == 0 and time.monotonic() < give_up:
            time.sleep(0.005)
        time.sleep(_MOMENT)
        self.pair.client.write(True)
        time.sleep(_MOMENT)
        self.resets += self.command("reset").connections

    def end_proxy(self) -> None:
        """End the proxy, if it began."""
        if self.proxy is not None:
            self.proxy.end(kill=True)


@contextmanager
def _open(peer: str, credentials: Path) -> Iterator[_Run]:
    run = _Run(peer, credentials)
    try:
        with run.pair:
            yield run
    finally:
        run.end_proxy()


def account(seen: dict[str, Measurement]) -> Measurement:
    """Return what was lost of what was accepted, and what else happened, from what both sides saw."""
    sent, got = seen["client"], seen["server"]
    return {
        "accepted": sent["accepted"],
        "refused": sent["refused"],
        "lost": max(0.0, sent["accepted"] - got["distinct"]),
        "reported": sent["reported"],
        "twice": got["twice"],
        "reordered": got["reordered"],
        "sender_growth_mib": round(sent["sender_growth_mib"], 1),
        "send_s": round(sent["send_s"], 2),
    }


def damage(peer: str, figure: Figure, credentials: Path) -> Measurement:
    """Send the whole stream of a figure; the proxy resets whenever the sender asks."""
    with _open(peer, credentials) as run:
        task = Task(figure, 0, STALL + 60, 1)
        seen, _ = run.pair.measure(task, run.cut_in_full_flow)
        return account(seen) | {"resets": run.resets}


def resume(peer: str, held: int, cuts: int, credentials: Path) -> Measurement:
    """Cut a session often and time the first message after each cut.

    Args:
        peer: Who.
        held: Messages that are on the way, and were not delivered, when the cut comes; with 0, one is sent right
            after the cut.
        cuts: How often.
        credentials: Where the certificate is.
    """
    first, last = [], []
    with _open(peer, credentials) as run:
        task = Task(Figure("resume_time", "resume", SIZE, count=held), 0, 1, 1)
        server, client = run.pair.server, run.pair.client
        server.write(task)
        client.write(task)
        for _ in range(cuts):
            if held:
                run.command("hold")
                client.write(True)
                client.read(Sent, _LIMIT)
            cut = run.command("reset")
            if not held:
                client.write(True)
                client.read(Sent, _LIMIT)
            stamps: Stamps = server.read(Stamps, _LIMIT)
            first.append(stamps.first_ns - cut.at_ns)
            last.append(stamps.last_ns - cut.at_ns)
        client.write(False)
        client.read(Measurement, _LIMIT)
        server.read(Measurement, _LIMIT)
    return {**percentiles(first), **percentiles(last, "all_")}


def run(peers: Sequence[str], messages: int, stalled_messages: int, cuts: int = CUTS) -> list[Outcome]:
    """Damage every peer in every way; say on stderr how far it is."""
    resets = Figure("resets", "resets", SIZE, BATCH, count=messages)
    stall = Figure("stall", "stall", STALLED_SIZE, BATCH, count=stalled_messages)
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="web4-bench-") as directory:
        credentials = Path(directory)
        write_credentials(credentials)
        for peer in peers:
            works = {figure.name: partial(damage, peer, figure, credentials) for figure in (resets, stall)}
            if peer == "rtt":
                for held in (0, HELD):
                    works[f"resume_{held}"] = partial(resume, peer, held, cuts, credentials)
            for name, work in works.items():
                print(f"{name}, {peer}", file=sys.stderr)
                try:
                    outcomes.append(Outcome(peer, name, "", work()))
                except PeerFailedError as error:
                    outcomes.append(Outcome(peer, name, str(error), {}))
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a line per peer and damage."""
    lines = []
    for one in outcomes:
        found = one.figures
        if one.failed:
            text = f"no figure: {one.failed}"
        elif "lost" in found:
            share = 100 * found["lost"] / max(found["accepted"], 1)
            text = (
                f"{found['accepted']:.0f} accepted, {found['lost']:.0f} lost ({share:.2f} %), "
                f"{found['reported']:.0f} reported as not acknowledged, {found['twice']:.0f} twice, "
                f"{found['reordered']:.0f} reordered, sender grew {found['sender_growth_mib']:.0f} MiB, "
                f"{found['refused']:.0f} sends refused, {found['send_s']:.1f} s, {found['resets']:.0f} resets"
            )
        else:
            text = (
                f"first message p50 {found['p50_us'] / 1e3:.1f} ms, max {found['max_us'] / 1e3:.1f} ms; "
                f"all of them p50 {found['all_p50_us'] / 1e3:.1f} ms"
            )
        lines.append(f"{one.damage:<12} {one.peer:<12} {text}")
    legend = (
        f"resets: {RESETS} connection resets in the stream; stall: the reader takes nothing for {STALL:.0f} s"
    )
    return "\n".join([*lines, legend])


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", nargs="+", choices=catalog.RESUMING, default=catalog.RESUMING)
    parser.add_argument("--messages", type=int, default=MESSAGES, help="of the stream with resets")
    parser.add_argument("--stalled-messages", type=int, default=STALLED_MESSAGES)
    parser.add_argument("--cuts", type=int, default=CUTS, help="of each resume time")
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    options = parser.parse_args()
    outcomes = run(options.peers, options.messages, options.stalled_messages, options.cuts)
    report = {"benchmark": "robustness", "machine": machine(), "outcomes": outcomes}
    print(msgspec.json.encode(report).decode())
    if not options.json:
        print(table(outcomes))


if __name__ == "__main__":
    main()
