"""Acknowledged exactly-once envelopes per second between two processes, each with its journal (section 18).

    python -m scripts.bench.outbox --seconds 10 --in-flight 64

An envelope counts when its sender has recorded that it was delivered: queued durably, signed, sent, verified, let in
durably, receipted, concluded durably. The rates per peer are raised for the run; all other limits are the defaults.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from typing import IO, Any


def _line(stream: IO[bytes], kind: str) -> dict[str, Any]:
    for text in stream:
        said: dict[str, Any] = json.loads(text)
        if said["kind"] == kind:
            return said
        print(said, file=sys.stderr)
    raise SystemExit(f"a child ended before it said {kind}")


def _child(role: str, directory: str, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.bench.outbox_child", role, directory, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run both processes once; the figures."""
    profiles: dict[str, tuple[str, ...]] = dict.fromkeys(("sender", "receiver"), ())
    if arguments.profile is not None:
        profiles = {role: ("--profile", f"{arguments.profile}.{role}") for role in profiles}
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        receiver = _child("receiver", directory, *profiles["receiver"])
        assert receiver.stdin is not None
        assert receiver.stdout is not None
        url = _line(receiver.stdout, "listening")["url"]
        flags = [f"--seconds={arguments.seconds}", f"--in-flight={arguments.in_flight}"]
        sender = _child(
            "sender", directory, f"--url={url}", f"--size={arguments.size}", *flags, *profiles["sender"]
        )
        assert sender.stdout is not None
        sent = _line(sender.stdout, "sent")
        sender.wait()
        receiver.stdin.close()
        received = _line(receiver.stdout, "received")
        receiver.wait()
    return {
        "envelopes_per_second": round(sent["delivered"] / sent["seconds"]),
        "in_flight": arguments.in_flight,
        "text_bytes": arguments.size,
        "delivered": sent["delivered"],
        "received_once": received["different"],
        "received_twice": received["twice"],
        "p50_ms": round(sent["p50_ms"], 2),
        "p99_ms": round(sent["p99_ms"], 2),
        "sender_processor_us": round(sent["processor_seconds"] / sent["delivered"] * 1e6),
        "receiver_processor_us": round(received["processor_seconds"] / sent["delivered"] * 1e6),
        "rates_raised": True,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--size", type=int, default=256, help="bytes of text in each fact")
    parser.add_argument("--directory", help="where the journals are; the system's temporary directory")
    parser.add_argument("--profile", help="write profiles to PATH.sender and PATH.receiver")
    print(json.dumps(measure(parser.parse_args()), indent=2))
