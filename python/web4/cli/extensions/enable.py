"""`web4 ext enable`."""

from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from web4.cli import exits
from web4.cli.errors import CommandError
from web4.cli.extensions.asked import changes_of, lines_of
from web4.cli.extensions.naming import Name, find_extension
from web4.cli.extensions.places import WHERE, Where, surroundings
from web4.cli.extensions.terminal import can_ask, confirm, tell
from web4.cli.extensions.writing import writing_enabling
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import facts, paint, visible
from web4.extensions.errors import EnablingError

if TYPE_CHECKING:
    from typing import Any

    from web4.extensions.enabling.enabling import Proposal


def enable(
    name: Name,
    /,
    *,
    yes: Annotated[
        bool, Parameter(negative=(), help="Nobody is asked: what it asks for is agreed to.")
    ] = False,
    digest: Annotated[
        str | None,
        Parameter(
            help="Only if this is its digest, or the first 12 digits or more of it, as `web4 ext show` says it. Nobody "
            "is asked."
        ),
    ] = None,
    development: Annotated[
        bool,
        Parameter(
            negative=(), help="Its files may change from now on; what it may reach may not. For its author."
        ),
    ] = False,
    where: Where = WHERE,
    common: Common = COMMON,
) -> int:
    """Show what an extension asks for, and let it run as it is now.

    All its files are pinned: when one changes it is not started until it is enabled again, and then what has changed
    is shown. The journal notes it, so the node must not run meanwhile. It asks on the terminal; where there is none,
    it needs `--yes` or `--digest`.

    Exit code 0: enabled. 1: it was not agreed to. 5: nobody can be asked here. 7: it is not what `--digest` says.

    ```
    web4 ext enable notes
    web4 ext enable notes --digest 3f1c09d2a77b --json
    ```
    """

    async def body(output: Output) -> Answer:
        around = surroundings(common, where)
        found = await find_extension(around, name)
        if not (yes or digest or can_ask()):
            raise CommandError(
                f"somebody has to agree to what {name} asks for, and there is no terminal",
                code="human_needed",
            )
        async with writing_enabling(around) as enabling:
            proposal = await enabling.propose(found)
            if proposal.clash is not None:
                raise EnablingError(f"{name} cannot be enabled: {proposal.clash}", code="name_clash")
            _hold_to(digest, proposal)
            shown = [*lines_about(proposal), ""]
            if not (yes or digest):
                tell(shown)
                shown = []
                if not await confirm(f"Let {name} run?"):
                    return Answer(_data(proposal, enabled=False), ["nothing was changed"], exits.NO)
            elif output.json:
                shown = []
            await enabling.enable(proposal, development=development)
        done = paint(visible(f"{name} {proposal.pinned.manifest.version} is enabled"), "green")
        how = ", in development: its files may change" if development else ""
        return Answer(_data(proposal, enabled=True), [*shown, f"{done}{how}"])

    return perform(common, body)


def lines_about(proposal: "Proposal") -> list[str]:
    """What is shown before it is enabled (EXT-7)."""
    manifest = proposal.pinned.manifest
    lines = facts(
        [
            ("extension", f"{manifest.name} {manifest.version}"),
            ("says", manifest.description),
            ("directory", proposal.pinned.directory),
            ("files", len(proposal.pinned.tree.files)),
            ("digest", proposal.digest),
        ]
    )
    lines += ["", "It asks for:", *lines_of(proposal.asks)]
    record = proposal.record
    if record is None:
        return lines
    if proposal.files is None:
        lines += ["", "Which files have changed since it was last enabled is not known."]
    elif proposal.files:
        lines += ["", f"Since version {visible(record.version)} was enabled, files have"]
        for what in ("added", "removed", "changed"):
            lines += [visible(f"  {what}: {path}") for path in getattr(proposal.files, what)]
    changes = changes_of(record.asks, proposal.asks)
    return [*lines, "", "and it asks for something else:", *changes] if changes else lines


def _hold_to(digest: str | None, proposal: "Proposal") -> None:
    if digest is None:
        return
    if len(digest) < 12:
        raise CommandError("--digest needs 12 digits at least", code="usage")
    if not proposal.digest.startswith(digest.lower()):
        raise EnablingError(
            f"{proposal.pinned.manifest.name} has digest {proposal.digest}", code="digest_changed"
        )


def _data(proposal: "Proposal", *, enabled: bool) -> "dict[str, Any]":
    files = proposal.files
    return {
        "enabled": enabled,
        "name": proposal.pinned.manifest.name,
        "version": proposal.pinned.manifest.version,
        "directory": proposal.pinned.directory,
        "digest": proposal.digest,
        "asks": msgspec.structs.asdict(proposal.asks),
        "since": None if proposal.record is None else proposal.record.digest,
        "files": None if files is None else msgspec.to_builtins(files),
        "asked": [
            {"key": one.key, "gained": list(one.gained), "lost": list(one.lost)} for one in proposal.asked
        ],
    }
