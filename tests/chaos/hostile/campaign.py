"""Honest nodes in a ring, a hostile one beside them: what is exchanged without and under attack, and what was harmed.

Each process is a node of its own. Quiet windows and attacks take turns; in both the honest exchange as much as they
can. An attack's window is as long as the attack.
"""

from __future__ import annotations

import json
import random
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import trio

from tests.chaos.hostile.attacks import EVERYTHING
from web4.demo.process import Child, start_child

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.chaos.hostile.attacks import Planned

NAMES: Final = ("ada", "bob", "cyd", "dan")
"""Each is a neighbour of the one before and the one behind; the first and the third have a hop between them."""
SHORTEST: Final = 0.6
"""Seconds that a window lasts at least."""
PATIENCE: Final = 60.0
SETTLE: Final = 30.0
"""Seconds for what was begun to come to its end."""
KINDS: Final = ("ask", "fact", "service")


@dataclass
class Window:
    """Some seconds of honest traffic. `attack` is None for a quiet one."""

    attack: str | None
    seconds: float
    done: dict[str, int]
    sent: int = 0

    def rate(self, kind: str | None = None) -> float:
        """Exchanges a second, of one kind or of all."""
        count = sum(self.done.values()) if kind is None else self.done.get(kind, 0)
        return count / self.seconds


@dataclass
class Findings:
    """What a campaign came to."""

    windows: list[Window] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    first: dict[str, dict[str, Any]] = field(default_factory=dict)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    trust: list[dict[str, Any]] = field(default_factory=list)
    """What the honest think of each other: before, and after."""

    def rates(self, *, quiet: bool) -> list[float]:
        """The rates of all quiet windows, or of all others."""
        return [one.rate() for one in self.windows if (one.attack is None) == quiet]

    def attacked(self) -> list[tuple[Window, list[Window]]]:
        """Every attack, and the quiet windows next to it: the machine has not always as much to do beside this."""
        quiet = [at for at, one in enumerate(self.windows) if one.attack is None]
        found = []
        for at, one in enumerate(self.windows):
            if one.attack is not None:
                beside = [number for number in quiet if number < at][-2:]
                beside += [number for number in quiet if number > at][:2]
                found.append((one, [self.windows[number] for number in beside]))
        return found


class Ring:
    """The honest nodes, seen from outside.

    Args:
        nodes: Their processes, by name.
        ready: What each said of itself when it was there.
    """

    def __init__(self, nodes: dict[str, Child], ready: dict[str, dict[str, Any]]) -> None:
        self.nodes = nodes
        self.ready = ready
        self.fingerprints = {name: said["fingerprint"] for name, said in ready.items()}

    async def ask_all(self, do: str, **arguments: Any) -> dict[str, dict[str, Any]]:
        """Ask every node the same."""
        return {name: await node.ask(do, **arguments) for name, node in self.nodes.items()}

    async def join(self) -> None:
        """Let the neighbours meet, and those across the ring reach each other; then begin with the traffic."""
        names = list(self.nodes)
        for name, node in self.nodes.items():
            following = names[(names.index(name) + 1) % len(names)]
            for other in names:
                if other != name:
                    urls = [self.ready[other]["url"]] if other == following else []
                    await node.ask("know", peer=self.fingerprints[other], addresses=urls, anchor=True)
        for name, node in self.nodes.items():
            for other in self._neighbours(name):
                await node.ask("meet", peer=self.fingerprints[other])
        for at, node in enumerate(self.nodes.values()):
            across = names[(at + 2) % len(names)]
            await node.ask("reach", peer=self.fingerprints[across], dial=at < len(names) // 2)

    async def start(self) -> None:
        """Begin with the traffic."""
        names = list(self.nodes)
        for at, (name, node) in enumerate(self.nodes.items()):
            neighbours = [self.fingerprints[one] for one in self._neighbours(name)]
            across = self.fingerprints[names[(at + 2) % len(names)]]
            await node.ask("start", neighbours=neighbours, across=across)

    def _neighbours(self, name: str) -> list[str]:
        names = list(self.nodes)
        at = names.index(name)
        return [names[at - 1], names[(at + 1) % len(names)]]

    async def trusts(self, peers: list[str]) -> None:
        """Make all of them trust some peers: their operators were deceived."""
        for node in self.nodes.values():
            for peer in peers:
                await node.ask("know", peer=peer, anchor=True)

    async def judge(self) -> dict[str, dict[str, Any]]:
        """What each thinks of the others, and of the claims of all."""
        return {
            name: await node.ask(
                "judge", honest=[one for other, one in self.fingerprints.items() if other != name]
            )
            for name, node in self.nodes.items()
        }

    def victims(self) -> list[dict[str, str]]:
        """What an attacker knows of them."""
        return [
            {"name": name, "fingerprint": said["fingerprint"], "url": said["url"]}
            for name, said in self.ready.items()
        ]


class Campaign:
    """One run.

    Args:
        ring: The honest.
        hostile: The hostile node's process.
        seed: Makes every choice of the attacker.
        say: Told of each window.
    """

    def __init__(self, ring: Ring, hostile: Child, seed: int, say: Callable[[dict[str, Any]], None]) -> None:
        self._ring = ring
        self._hostile = hostile
        self._seed = seed
        self._say = say
        self._number = 0
        self.findings = Findings()

    async def run(
        self, seconds: float, scale: float = 1.0, plan: tuple[Planned, ...] = EVERYTHING
    ) -> Findings:
        """Attack with all of the plan, in the order of the seed, again until the time is over; the first round is
        whole, whatever the time.

        Args:
            seconds: How long.
            scale: How much of what is planned of each attack.
            plan: The attacks of a round.
        """
        found = self.findings
        await self._ring.start()
        await trio.sleep(1)
        for _ in range(4):
            await self.quiet()
        found.first = await self._ring.ask_all("look")
        found.trust.append(await self._ring.judge())
        until = trio.current_time() + seconds
        first = True
        while first or trio.current_time() < until:
            attacks = [one.scaled(scale) for one in plan]
            random.Random(f"{self._seed}/{self._number}").shuffle(attacks)
            for at, planned in enumerate(attacks):
                if not first and trio.current_time() >= until:
                    break
                await self.attack(planned)
                if at % 3 == 2:
                    await self.quiet()
            first = False
        await self.settle()
        return found

    # --- windows ------------------------------------------------------------------------------------------

    async def _count(self) -> dict[str, int]:
        looks = await self._ring.ask_all("look")
        return {kind: sum(one["done"].get(kind, 0) for one in looks.values()) for kind in KINDS}

    @asynccontextmanager
    async def window(self, attack: str | None) -> AsyncIterator[Window]:
        """Count what is exchanged meanwhile."""
        before, began = await self._count(), trio.current_time()
        window = Window(attack, 1.0, {})
        yield window
        await trio.sleep_until(began + SHORTEST)
        after = await self._count()
        window.seconds = trio.current_time() - began
        window.done = {kind: after[kind] - before[kind] for kind in KINDS}
        self.findings.windows.append(window)
        self._say(
            {
                "attack": window.attack,
                "seconds": round(window.seconds, 2),
                "sent": window.sent,
                "rate": round(window.rate()),
                **{kind: round(window.rate(kind)) for kind in KINDS},
            }
        )

    async def quiet(self) -> None:
        """A window without attack."""
        async with self.window(None):
            await trio.lowlevel.checkpoint()

    async def attack(self, planned: Planned) -> None:
        """One attack, and whether it had the consequences that it has to have."""
        self._number += 1
        seed = f"{self._seed}/{self._number} {planned.name}"
        seeds = [f"{seed}/insider {number}" for number in range(planned.insiders)]
        if seeds:
            trusted = await self._hostile.ask("insiders", seeds=seeds)
            await self._ring.trusts(trusted["fingerprints"])
        claims = [key for one in (await self._ring.ask_all("recent")).values() for key in one["claims"]]
        async with self.window(planned.name) as window:
            with trio.fail_after(PATIENCE):
                done = await self._hostile.ask(
                    "attack",
                    name=planned.name,
                    count=planned.count,
                    seed=seed,
                    victims=self._ring.victims(),
                    insiders=seeds,
                    claims=claims,
                )
            window.sent = done["sent"]
        if not done["sent"]:
            self.findings.wrong.append(f"{planned.name}: nothing was sent")
        for deed in done["deeds"]:
            await self._check(planned.name, deed)

    async def _check(self, name: str, deed: dict[str, Any]) -> None:
        node = self._ring.nodes[deed["victim"]]
        stands = await node.ask("expected", peer=deed["who"], states=deed["states"], patience=SETTLE)
        if stands["state"] not in deed["states"]:
            self.findings.wrong.append(f"{name}: {stands['state']} at {deed['victim']}, not {deed['states']}")
        if deed["cut"] is False:
            self.findings.wrong.append(f"{name}: {deed['victim']} let the session go on")
        if stands["state"] == "blacklisted" and stands["linked"]:
            self.findings.wrong.append(f"{name}: {deed['victim']} has a session with a blacklisted peer")

    # --- the end ------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Let the honest come to rest, and look at what was left."""
        for node in self._ring.nodes.values():
            with trio.fail_after(PATIENCE + SETTLE):
                await node.ask("stop")
        judged: dict[str, Any] = {}
        with trio.move_on_after(SETTLE):
            while not judged or not _agree(judged):
                judged = await self._ring.judge()
                await trio.sleep(0.2)
        self.findings.trust.append(judged)
        self.findings.last = await self._ring.ask_all("look")
        for name, node in self._ring.nodes.items():
            for one in (await node.ask("verified"))["findings"]:
                self.findings.wrong.append(f"the journal of {name}: {one}")


def _agree(judged: dict[str, Any]) -> bool:
    return len({one["digest"] for one in judged.values()}) == 1 and not any(
        one["odd"] for one in judged.values()
    )


@asynccontextmanager
async def campaign(
    directory: Path, seed: int, say: Callable[[dict[str, Any]], None]
) -> AsyncIterator[Campaign]:
    """Start all processes, and end them."""
    ready: dict[str, dict[str, Any]] = {}
    came = trio.Event()
    names = (*NAMES, "mallory")

    def on_event(name: str) -> Callable[[dict[str, Any]], None]:
        def notice(event: dict[str, Any]) -> None:
            if event["type"] == "ready":
                ready[name] = event["payload"]
                if len(ready) == len(names):
                    came.set()

        return notice

    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        children = {}
        for name in names:
            module = "hostile" if name == "mallory" else "honest"
            configuration = {
                "name": name,
                "url": "tcp://127.0.0.1:0",
                "directory": str(directory / name),
                "seed": None,
            }
            started = start_child(
                f"tests.chaos.hostile.{module}", name, configuration, on_event(name), lambda: None, nursery
            )
            children[name] = await stack.enter_async_context(started)
        with trio.fail_after(PATIENCE):
            await came.wait()
        hostile = children.pop("mallory")
        del ready["mallory"]
        ring = Ring(children, {name: ready[name] for name in NAMES})
        with trio.fail_after(PATIENCE):
            await ring.join()
        yield Campaign(ring, hostile, seed, say)


def show(line: dict[str, Any]) -> None:
    """Print a line of JSON."""
    print(json.dumps(line), flush=True)


def middle(rates: list[float]) -> float:
    """The median; 0 of nothing."""
    return median(rates) if rates else 0.0
