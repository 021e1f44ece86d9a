"""`web4 up`."""

from pathlib import Path

import trio

from web4.cli.configuration import config_file
from web4.cli.directory import data_directory
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import visible
from web4.doors.commands import commands_of
from web4.doors.control import ControlLimits, open_control_door
from web4.foundation.events import Event
from web4.node import Node, NodeParts, Places, open_node, read_config
from web4.node.journals import schema_of

NOTABLE = frozenset(
    """
    handshake_completed handshake_failed session_lost trust_transition trust_introduced trust_override
    auth_failure envelope_rejected claim_accepted claim_disputed claim_rejected consent_changed check_in_asked
    mission_drift peer_added peer_removed service_invoked error sink_lag
    journal_suspended journal_resumed journal_failed lane_halted
    """.split()  # noqa: SIM905 - one line for each would fill a page
)
"""What an operator is told of while the node runs."""
_SHOWN = 120
"""Characters of a reason on a line."""
STOPPED = Answer({"stopped": True}, ["stopped"])


def up(*, common: Common = COMMON) -> int:
    """Run the node of a data directory in the foreground, until Ctrl-C: it stops in order.

    The first lines say who it is and where it listens; then follows one line for each notable event.

    ```
    web4 up
    web4 up --data ./ada --json
    ```
    """

    async def body(output: Output) -> Answer:
        places = Places(data_directory(common))
        file = config_file(common) or places.config
        config = await trio.to_thread.run_sync(read_config, file)
        if (
            file != places.config.absolute()
        ):  # that of the directory one is in goes before the node's own (UX-36)
            output.notice(f"set up by {file}, not by {places.config}")
        async with open_node(places.data, config=config, parts=NodeParts()) as node:
            door = node.config.doors.ndjson
            limits = ControlLimits(allowed_uids=frozenset(door.allowed_uids))
            if not door.enabled:
                await _live(node, output, None, file)
            else:
                life = trio.CancelScope()
                async with open_control_door(
                    places.socket,
                    commands_of(node, stop=life.cancel),
                    emit=node.hub.emit,
                    limits=limits,
                    about={"fingerprint": node.fingerprint},
                ):
                    with life:
                        await _live(node, output, str(places.socket), file)
        return STOPPED

    return perform(common, body, streams=True, detached=lambda: STOPPED)


async def _live(node: Node, output: Output, socket: str | None, config: Path) -> None:
    """Say who the node is, then what happens, until cancelled."""
    await _greet(node, output, socket, config)
    send, receive = trio.open_memory_channel[Event](1_024)

    def watch(event: Event) -> None:
        if event.type in NOTABLE:
            try:
                send.send_nowait(event)
            except trio.WouldBlock:  # whoever reads is slow: the log and the journal have it
                return

    stop = node.hub.watch(watch)
    try:
        async for event in receive:
            if output.json:
                await output.document(
                    {"type": "event", "event": event.type, "peer": event.peer, "ts": event.ts}
                )
            else:
                await output.line(_row(event))
            await output.flush()
    finally:
        stop()


async def _greet(node: Node, output: Output, socket: str | None, config: Path) -> None:
    health = node.journal.health()
    if output.json:
        await output.document(
            {
                "type": "up",
                "name": node.name,
                "fingerprint": node.fingerprint,
                "addresses": list(node.addresses),
                "socket": socket,
                "config": str(config),
                "journal": health["durability"],
            }
        )
    else:
        await output.lines(
            [
                f"{visible(node.name)}  {node.fingerprint}",
                f"listens  {', '.join(map(visible, node.addresses)) or 'nowhere: it only dials'}",
                f"control  {visible(socket or 'disabled')}",
                f"journal  {_where(node)}, {health['durability']}",
            ]
        )
    await output.flush()


def _where(node: Node) -> str:
    """Where the journal is kept. Who may read the terminal need not know how to reach the database."""
    if node.config.journal.backend == "sqlite":
        return visible(node.places.journal)
    return f"{node.config.journal.backend}, schema {schema_of(node.fingerprint)}"


def _row(event: Event) -> str:
    payload = event.payload
    moved = f"{payload['from']} → {payload['to']}" if "from" in payload and "to" in payload else ""
    told = [moved, *(_short(str(payload[name])) for name in ("code", "reason", "key") if payload.get(name))]
    return visible(
        f"{event.ts[11:19]}  {event.type:<20} {(event.peer or '')[:12]:<12}  {' '.join(filter(None, told))}"
    ).rstrip()


def _short(text: str) -> str:
    """What somebody wrote, on one line of a terminal; the journal has all of it."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
