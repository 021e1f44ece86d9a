"""`web4 id rotate`."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import trio
from cyclopts import Parameter

from web4.cli import exits
from web4.cli.configuration import config_file
from web4.cli.errors import CommandError
from web4.cli.extensions.terminal import can_ask, confirm, tell
from web4.cli.id.export import as_toml, peer_of
from web4.cli.node.reaching import As, Reason, directory_of, human_name
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import facts, visible
from web4.doors.views.at_rest import open_at_rest
from web4.foundation.clock import SystemClock
from web4.foundation.identity import did_key
from web4.node.config import read_config
from web4.node.directory import Places
from web4.node.rotation import RotationNote, check_at_rest, rotate_identity

if TYPE_CHECKING:
    from web4.node.rotation import Rotated


def rotate(
    *,
    reason: Reason,
    human: As = None,
    yes: Annotated[bool, Parameter(negative=(), help="Nobody is asked.")] = False,
    common: Common = COMMON,
) -> int:
    """Give the node a new key. That is a new identity: nobody trusts it yet, and it begins with nothing.

    The node must not run. The old key is set aside, 0600, together with its journal, which is its and nobody else's:
    its trust in peers, its claims, the consents it was given, extensions it was let have, and what it promised to send,
    which is not sent any more. `retired/NUMBER-FINGERPRINT` is a data directory of its own: verbs that look read it
    with `--data`. `web4.toml` and `peers.toml` stay, and whom they anchor is anchored again.

    Tell your peers over another channel: they block the old fingerprint, and name the new one. It asks on the terminal;
    where there is none, it needs `--yes`. Interrupted, it goes on when it is called again.

    Exit code 0: done. 1: it was not agreed to. 3: the node runs. 5: nobody can be asked here.

    ```
    web4 id rotate --reason "the laptop was stolen"
    web4 id rotate --reason "yearly" --yes --data ./ada --json
    ```
    """

    async def body(_: Output) -> Answer:
        places = Places(directory_of(common))
        if not reason.strip():
            raise CommandError("--reason needs words", code="usage")
        if not (yes or can_ask()):
            raise CommandError(
                "somebody has to agree to a new identity, and there is no terminal", code="human_needed"
            )
        await trio.to_thread.run_sync(check_at_rest, places)
        file = config_file(common) or places.config
        resumes = not places.key.exists() and places.next_key.exists()
        waiting, unreadable = ({}, {}) if resumes else await _left_behind(places, file)
        if not (yes or resumes):
            tell(map(visible, _warning(waiting, unreadable)))
            if not await confirm("Give this node a new identity?"):
                return Answer({"rotated": False}, ["nothing was changed"], exits.NO)
        note = RotationNote(reason=reason, by=human_name(human), at_ms=SystemClock().wall_ms())
        done = await trio.to_thread.run_sync(rotate_identity, places, note)
        config = await trio.to_thread.run_sync(read_config, file)
        peer = peer_of(config.node.name or places.name, done.new.fingerprint, config.rtt.listen)
        data = {
            "rotated": True,
            "resumed": done.resumed,
            "old": done.old.fingerprint,
            "new": done.new.fingerprint,
            "retired": str(done.place),
            "not_sent": waiting,
            "unreadable": unreadable,
            "peer": peer,
            "did": did_key(done.new.public_key),
        }
        return Answer(data, _lines(done, sum(waiting.values()), as_toml(peer, config.rtt.listen)))

    return perform(common, body)


async def _left_behind(places: Places, file: Path) -> tuple[dict[str, int], dict[str, str]]:
    """What waits for each peer and will not be sent, and which lanes cannot be read."""
    async with open_at_rest(places.data, file) as reading:
        return await reading.outbox_counts(), reading.unreadable


def _warning(waiting: dict[str, int], unreadable: dict[str, str]) -> Iterable[str]:
    yield "A new key is a new identity (ID-4). It has no peers that trust it, no claims, no consents, no extensions."
    if waiting:
        yield f"{sum(waiting.values())} messages that wait for {len(waiting)} peers are not sent any more."
    if unreadable:
        yield f"What waits in {len(unreadable)} lanes cannot be read: {', '.join(sorted(unreadable))}."


def _lines(done: "Rotated", not_sent: int, peer: list[str]) -> list[str]:
    old = done.old.fingerprint
    return [
        *facts(
            [
                ("old", old),
                ("new", done.new.fingerprint),
                ("kept in", done.place),
                ("not sent", f"{not_sent} messages of the old identity" if not_sent else None),
            ]
        ),
        "",
        "Tell your peers over another channel. The old key counts no more:",
        f'  web4 trust block {old} --reason "rotated"',
        "and this is who you are now, for their peers.toml:",
        *(f"  {visible(line)}" for line in peer),
    ]
