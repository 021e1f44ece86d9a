"""How the mesh's routing grows: `python -m scripts.bench.mesh [--nodes 10 25 ...] [--svg FILE]`.

The nodes are simulated: the routing code of real ones, in virtual time, over links of 1 to 20 ms. Times are those of
the simulated network, not of this machine; messages are counted. Prints a table, one JSON object, and with `--svg` a
picture.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.bench.mesh_simulation import Network, ring_with_chords

SIZES = (10, 25, 50, 100, 250, 500, 1_000)


@dataclass(frozen=True)
class Growth:
    """What one size gave."""

    nodes: int
    links: int
    converged_ms: float
    """From the first link to the last change of any way."""
    messages_per_node: float
    vectors_per_node: float
    largest_messages: int
    """Of the busiest node."""
    ways_per_node: float
    reached: float
    """The share of pairs within reach that reach each other."""
    healed_ms: float
    """From the loss of one node's links to the last change that it caused."""
    healing_messages_per_node: float
    seconds: float
    """That this machine took."""


def measure(count: int, *, chords: int, seed: int, samples: int = 2_000) -> Growth:
    """Let a network of `count` nodes find itself, then take one node away."""
    started = time.perf_counter()
    network = Network(seed)
    ring_with_chords(network, count, chords)
    converged = network.settle()
    sent = [node.sent for node in network.nodes.values()]
    vectors = [node.vectors for node in network.nodes.values()]
    ways = [sum(1 for _ in node.table.routes()) for node in network.nodes.values()]
    links, reached = len(network.links), _reached(network, samples)
    victim = max(network.nodes, key=lambda name: sum(name in link for link in network.links))
    for link in [link for link in network.links if victim in link]:
        network.part(*sorted(link))
    lost = network.now_ms
    healed = network.settle() - lost
    again = sum(node.sent for node in network.nodes.values()) - sum(sent)
    return Growth(
        nodes=count,
        links=links,
        converged_ms=round(converged, 1),
        messages_per_node=round(statistics.mean(sent), 1),
        vectors_per_node=round(statistics.mean(vectors), 1),
        largest_messages=max(sent),
        ways_per_node=round(statistics.mean(ways), 1),
        reached=round(reached, 4),
        healed_ms=round(max(0.0, healed), 1),
        healing_messages_per_node=round(again / count, 2),
        seconds=round(time.perf_counter() - started, 2),
    )


def _reached(network: Network, samples: int) -> float:
    """The share of pairs within reach, or of a sample of them, that reach each other."""
    names = sorted(network.nodes)
    origins = names if len(names) <= 50 else network.chance.sample(names, 50)
    pairs = [(origin, to) for origin in origins for to in sorted(network.within_reach(origin))]
    if len(pairs) > samples:
        pairs = network.chance.sample(pairs, samples)
    return sum(network.walk(*pair) is not None for pair in pairs) / len(pairs)


def table(rows: list[Growth]) -> str:
    """The rows, for people."""
    head = (
        "nodes",
        "links",
        "converged ms",
        "messages/node",
        "busiest",
        "ways/node",
        "reached",
        "healed ms",
        "then/node",
    )
    lines = ["  ".join(f"{name:>13}" for name in head)]
    for row in rows:
        cells = (
            row.nodes,
            row.links,
            row.converged_ms,
            row.messages_per_node,
            row.largest_messages,
            row.ways_per_node,
            f"{row.reached:.2%}",
            row.healed_ms,
            row.healing_messages_per_node,
        )
        lines.append("  ".join(f"{cell:>13}" for cell in cells))
    return "\n".join(lines)


def svg(rows: list[Growth]) -> str:
    """Messages per node and time to converge over the number of nodes, both axes linear from zero."""
    width, height, edge = 640, 320, 48
    most_nodes = max(row.nodes for row in rows)
    curves = (
        ("messages per node", "#1f77b4", [row.messages_per_node for row in rows]),
        ("converged, ms", "#d62728", [row.converged_ms for row in rows]),
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<path d="M{edge} {edge / 2}V{height - edge}H{width - edge}" fill="none" stroke="black"/>',
    ]
    for place, (name, colour, values) in enumerate(curves):
        most = max(values)
        points = [
            (
                edge + (width - 2 * edge) * row.nodes / most_nodes,
                height - edge - (height - 1.5 * edge) * value / most,
            )
            for row, value in zip(rows, values, strict=True)
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        label = f"{name} (up to {most:g})"
        parts.append(
            f'<text x="{edge + 12}" y="{edge / 2 + 14 * (place + 1)}" fill="{colour}">{label}</text>'
        )
    parts += [
        f'<text x="{edge + (width - 2 * edge) * row.nodes / most_nodes - 8:.0f}" y="{height - edge + 16}">'
        f"{row.nodes}</text>"
        for row in rows
        if row.nodes >= most_nodes / 10 or row is rows[0]
    ]
    return "\n".join([*parts, f'<text x="{width / 2}" y="{height - 10}">nodes</text>', "</svg>", ""])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--chords", type=int, default=2, help="links of each node beside those of the ring")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    rows = [measure(count, chords=arguments.chords, seed=arguments.seed) for count in arguments.nodes]
    print(table(rows))
    settings = {"seed": arguments.seed, "chords": arguments.chords, "python": platform.python_version()}
    print(json.dumps({"settings": settings, "results": [asdict(row) for row in rows]}))
    if arguments.svg is not None:
        arguments.svg.write_text(svg(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
