"""`web4 ext show`."""

from typing import TYPE_CHECKING, Any

import msgspec
import trio

from web4.cli.doctor_protections import FEATURES, word_of
from web4.cli.extensions.asked import changes_of, lines_of
from web4.cli.extensions.measuring import Sound, sound
from web4.cli.extensions.naming import Name, not_found
from web4.cli.extensions.places import WHERE, Surroundings, Where, surroundings
from web4.cli.extensions.standing import BROKEN, GONE, Row, rows
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import facts, moment, paint, table, visible
from web4.extensions.enabling.asking import asked_since, asks_for
from web4.extensions.errors import TreeError
from web4.extensions.places.digest import TreeDigest, tree_digest
from web4.extensions.processes import open_processes
from web4.worker.request import Sandbox

if TYPE_CHECKING:
    from web4.extensions.enabling.asking import Asks
    from web4.extensions.manifests.manifest import Manifest


def show(name: Name, /, *, where: Where = WHERE, common: Common = COMMON) -> int:
    """Show what an extension says of itself, what it asks for, and what it would be given here.

    Its files are compared with what was enabled. The protections are measured in a worker of its level that runs no
    line of it. Works beside a running node.

    ```
    web4 ext show notes
    web4 ext show notes --json
    ```
    """

    async def body(_: Output) -> Answer:
        around = surroundings(common, where)
        found = await rows(around, frozenset({name}))
        if not found:
            raise await not_found(around, name)
        one = found[0]
        manifest = one.manifest
        if manifest is None or one.state in {BROKEN, GONE}:
            return Answer(one.document() | dict.fromkeys(_MORE), _heading(one, None))
        asks = asks_for(manifest)
        assert one.directory is not None
        tree = await _tree(one.directory)
        given = await _given(around, manifest)
        return Answer(_data(one, manifest, asks, tree, given), _lines(one, manifest, asks, tree, given))

    return perform(common, body)


_MORE = ("manifest", "asks", "found_digest", "files", "asked", "protections", "unprotected")


async def _tree(directory: str) -> TreeDigest | None:
    """What is there; None where it cannot be pinned, which its state then says."""
    try:
        return await trio.to_thread.run_sync(tree_digest, directory, abandon_on_cancel=True)
    except TreeError:
        return None


async def _given(around: Surroundings, manifest: "Manifest") -> Sound:
    wish = manifest.sandbox
    # What it is granted changes no protection, and need not be there yet.
    sandbox = Sandbox(level=wish.level, network=wish.network, required=wish.required)
    async with open_processes() as processes:
        return await sound(
            processes, sandbox, resources=manifest.resources, user=around.configuration.worker_user
        )


def _data(
    one: Row, manifest: "Manifest", asks: "Asks", tree: TreeDigest | None, given: Sound
) -> dict[str, Any]:
    record, standing = one.record, one.standing
    return one.document() | {
        "manifest": msgspec.to_builtins(manifest),
        "asks": msgspec.structs.asdict(asks),
        "found_digest": None if tree is None else tree.digest,
        "files": None
        if standing is None or standing.change is None
        else msgspec.to_builtins(standing.change),
        "asked": []
        if record is None
        else [
            {"key": change.key, "gained": list(change.gained), "lost": list(change.lost)}
            for change in asked_since(record.asks, asks)
        ],
        "protections": None if given.protections is None else msgspec.to_builtins(given.protections),
        "unprotected": None if given.error is None else {"code": given.error[0], "message": given.error[1]},
    }


def _heading(one: Row, tree: TreeDigest | None) -> list[str]:
    manifest, record = one.manifest, one.record
    enabled = None
    if record is not None and record.enabled:
        enabled = f"{moment(record.at_ms)} by {record.by}, version {record.version}"
    return facts(
        [
            ("extension", one.name if one.version is None else f"{one.name} {one.version}"),
            ("says", None if manifest is None else manifest.description),
            ("directory", one.directory or "unknown"),
            ("place", None if one.found is None else one.found.place),
            ("state", one.state.replace("_", " ")),
            ("because", one.why),
            ("enabled", enabled),
            ("digest", None if tree is None else tree.digest),
            ("files", None if tree is None else len(tree.files)),
        ]
    )


def _lines(one: Row, manifest: "Manifest", asks: "Asks", tree: TreeDigest | None, given: Sound) -> list[str]:
    lines = _heading(one, tree)
    offers = _offers(manifest)
    if offers:
        lines += ["", "It offers", *table(offers)]
    lines += ["", "It asks for", *lines_of(asks)]
    standing, record = one.standing, one.record
    if standing is not None and standing.change:
        lines += ["", "Since it was enabled, files have"]
        for what in ("added", "removed", "changed"):
            lines += [visible(f"  {what}: {path}") for path in getattr(standing.change, what)]
    changes = [] if record is None else changes_of(record.asks, asks)
    if changes:
        lines += ["", "Since it was enabled, it asks for something else", *changes]
    lines += ["", "Here it would be given"]
    if given.protections is None:
        assert given.error is not None
        return [*lines, paint("nothing", "red") + visible(f": it would not start: {given.error[1]}")]
    told = msgspec.structs.asdict(given.protections)
    missing = told.pop("missing")
    lines += ["  " + line for line in facts((FEATURES.get(name, name), word_of(told[name])) for name in told)]
    if missing:
        lines.append(
            paint("missing", "red") + visible(f": {', '.join(missing)}; `web4 doctor` says what to do")
        )
    return lines


def _offers(manifest: "Manifest") -> list[list[object]]:
    rows: list[list[object]] = []
    for kind in ("tool", "command", "service", "workload", "rule"):
        for part in getattr(manifest, f"{kind}s"):
            first = part.description.partition("\n")[0]
            rows.append([f"  {kind}", part.name, f"{manifest.timeout_ms(kind, part.name)} ms", first])
    for hook in manifest.hooks:
        rows.append(["  hook", hook.point, f"{manifest.timeout_ms('hook', hook.point)} ms", ""])
    return rows
