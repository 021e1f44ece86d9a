"""What an extension asks for, as it is shown to the human who enables it, and as it is recorded (EXT-7)."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

import msgspec

from web4.extensions.errors import ManifestError
from web4.extensions.manifests.manifest import CLOSED_BY_DEFAULT, Resources, Timeouts
from web4.worker.request import Level, Network, PythonEntry

if TYPE_CHECKING:
    from web4.extensions.manifests.manifest import Hook, Manifest

MAX_ASKS: Final = 96 * 1024
"""Bytes: what is asked for stands in one event, and in front of one human (`=`)."""


class Asks(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is asked for. Everything is text, so that each key is shown and compared in the same way.

    Args:
        level: Of the sandbox.
        network: `allow` or `deny`.
        read: Paths granted beside the system's own, resolved.
        write: Paths granted beside `tmp`, resolved.
        environment: Variables of the node that are passed through.
        open_hooks: Points where a failing hook lets the guarded act happen, which is not what the point does by itself.
        ui: Whether it may ask people questions.
        hooks: Points, with what matters of each.
        high_risk: Tools that it calls so itself (AGT-29).
        permissions: Of its tools, each as `<tool>: <permission>`.
        required: Protections without which it does not start.
        entry: What runs.
        tools, commands, services, workloads, rules: Names.
        limits: Every limit and time that is not the default, as `<key> = <value>`.
        reuse: Who may share a worker.
    """

    level: Level
    network: Network = "deny"
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    open_hooks: tuple[str, ...] = ()
    ui: bool = False
    hooks: tuple[str, ...] = ()
    high_risk: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    entry: str = ""
    tools: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    reuse: str = "shared"

    @property
    def names(self) -> frozenset[str]:
        """What may clash with other extensions (EXT-8)."""
        return frozenset((*self.tools, *self.commands))


class AskChange(msgspec.Struct, frozen=True, kw_only=True):
    """What one key of `Asks` gained and lost between two enablings."""

    key: str
    gained: tuple[str, ...]
    lost: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.key}: " + " ".join(
            [*(f"+{one}" for one in self.gained), *(f"-{one}" for one in self.lost)]
        )


GUARDED: Final = ("level", "network", "read", "write", "environment", "open_hooks", "ui", "required")
"""What development mode does not change without a human: code may, what it may reach may not."""


def asks_for(manifest: Manifest) -> Asks:
    """What a manifest asks for.

    Raises:
        ManifestError: It is more than can be shown and recorded.
    """
    wish = manifest.sandbox
    asks = Asks(
        level=wish.level,
        network=wish.network,
        read=wish.read,
        write=wish.write,
        environment=tuple(sorted(manifest.environment)),
        open_hooks=tuple(
            sorted(
                one.point for one in manifest.hooks if one.point in CLOSED_BY_DEFAULT and not one.fails_closed
            )
        ),
        ui=manifest.ui,
        hooks=tuple(sorted(_hook(one) for one in manifest.hooks)),
        high_risk=tuple(sorted(one.name for one in manifest.tools if one.high_risk)),
        permissions=tuple(
            sorted(f"{one.name}: {word}" for one in manifest.tools for word in one.permissions)
        ),
        required=tuple(sorted(wish.required)),
        entry=_entry(manifest),
        tools=_names(manifest.tools),
        commands=_names(manifest.commands),
        services=_names(manifest.services),
        workloads=_names(manifest.workloads),
        rules=_names(manifest.rules),
        limits=(*_limits(manifest.resources, Resources()), *_limits(manifest.timeouts, Timeouts())),
        reuse=manifest.reuse,
    )
    if len(msgspec.json.encode(asks)) > MAX_ASKS:
        raise ManifestError("it asks for more than can be shown to a human; shorten its lists")
    return asks


def asked_since(before: Asks, now: Asks) -> tuple[AskChange, ...]:
    """What changed between two enablings, key by key."""
    changes = []
    for key in Asks.__struct_fields__:
        old, new = _texts(getattr(before, key)), _texts(getattr(now, key))
        if old != new:
            gained = tuple(one for one in new if one not in old)
            lost = tuple(one for one in old if one not in new)
            changes.append(AskChange(key=key, gained=gained, lost=lost))
    return tuple(changes)


def guarded_since(before: Asks, now: Asks) -> tuple[AskChange, ...]:
    """Of what changed, that for which a human is asked again, in development mode too."""
    return tuple(one for one in asked_since(before, now) if one.key in GUARDED)


def shown(asks: Asks) -> list[tuple[str, str]]:
    """What is asked for as pairs of key and text, for a human; what is not asked for is left out."""
    pairs = [(key.replace("_", " "), _texts(getattr(asks, key))) for key in Asks.__struct_fields__]
    return [
        (key, ", ".join(repr(one) if "," in one else one for one in texts)) for key, texts in pairs if texts
    ]


def _texts(value: Any) -> tuple[str, ...]:
    match value:
        case bool():
            return ("yes",) if value else ()
        case str():
            return (value,) if value else ()
    return tuple(value)


def _names(parts: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(sorted(one.name for one in parts))


def _hook(hook: Hook) -> str:
    about = [f"fails {'closed' if hook.fails_closed else 'open'}"]
    if hook.rewrites:
        about.append("rewrites arguments")
    if hook.tools:
        about.append(f"of {' '.join(sorted(hook.tools))}")
    return f"{hook.point} ({'; '.join(about)})"


def _entry(manifest: Manifest) -> str:
    if isinstance(manifest.entry, PythonEntry):
        return f"python {manifest.entry.module}:{manifest.entry.object}"
    return shlex.join(manifest.entry.argv)


def _limits(asked: msgspec.Struct, default: msgspec.Struct) -> tuple[str, ...]:
    return tuple(
        f"{key} = {getattr(asked, key)}"
        for key in asked.__struct_fields__
        if getattr(asked, key) != getattr(default, key)
    )
