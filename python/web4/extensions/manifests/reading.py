"""Reading a manifest: the only way to a `Manifest`, and everything that must hold of one (EXT-5)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from web4.extensions.errors import ManifestError
from web4.extensions.manifests.document import ManifestDocument
from web4.extensions.manifests.manifest import HOOK_POINTS, Manifest, SandboxWish
from web4.extensions.manifests.manifest_file import manifest_path, read_document
from web4.extensions.manifests.manifest_schemas import check_schema
from web4.extensions.manifests.unknown_keys import field_of, first_unknown_key, nearest
from web4.worker.request import PROTECTIONS, CommandEntry, PythonEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.extensions.manifests.document import EntryDocument

_TOOL_POINTS: Final = frozenset({"tool_call", "tool_result"})
_OWN_VARIABLES: Final = "WEB4_"
PART_KINDS: Final = ("tools", "commands", "services", "workloads", "rules")


def read_manifest(directory: str | os.PathLike[str]) -> Manifest:
    """Read and check the manifest of an extension's directory. Runs nothing and writes nothing; it blocks.

    Paths of `sandbox` come out absolute, with links resolved as they are now.

    Args:
        directory: Holds `web4-extension.toml` or `web4-extension.json`.

    Raises:
        ManifestError: `manifest`: it is missing, there twice, or does not fit; `field` is the dotted key.
    """
    try:
        root = Path(os.path.realpath(directory))
        path = manifest_path(root)
        return manifest_of(read_document(path), root)
    except (OSError, ValueError) as error:  # a path that is none, a directory that may not be entered
        raise ManifestError(f"the extension cannot be read: {type(error).__name__}") from None


def manifest_of(document: dict[str, Any], directory: Path) -> Manifest:
    """Check what a manifest's file holds.

    Args:
        document: As `read_document` gives it.
        directory: The extension's, absolute and resolved.

    Raises:
        ManifestError: It does not fit; `field` is the dotted key.
    """
    unknown = first_unknown_key(document, ManifestDocument)
    if unknown is not None:
        raise ManifestError(str(unknown), field=unknown.field)
    _refuse_network_list(document)
    try:
        typed = msgspec.convert(document, ManifestDocument)
    except msgspec.ValidationError as error:
        message, field = field_of(error)
        raise ManifestError(message, field=field) from None
    _check_parts(typed)
    _check_hooks(typed)
    _check_times(typed)
    _check_sandbox(typed)
    _check_environment(typed)
    return Manifest(
        name=typed.name,
        version=typed.version,
        description=typed.description,
        entry=_entry(typed.entry, directory),
        tools=typed.tools,
        commands=typed.commands,
        services=typed.services,
        workloads=typed.workloads,
        rules=typed.rules,
        hooks=typed.hooks,
        timeouts=typed.timeouts,
        resources=typed.resources,
        sandbox=_resolved(typed.sandbox, directory),
        environment=typed.environment,
        ui=typed.ui,
        reuse=typed.reuse,
    )


def _refuse_network_list(document: dict[str, Any]) -> None:
    """Say of a list of hosts why it is refused, and not only that it is no word (EXT-30)."""
    sandbox = document.get("sandbox")
    if isinstance(sandbox, dict) and isinstance(sandbox.get("network"), list):
        raise ManifestError(
            "a list of hosts needs the node's broker, which comes with LIP's fetcher and is not there yet; "
            "say 'deny'",
            field="sandbox.network",
        )


def _check_parts(typed: ManifestDocument) -> None:
    for kind in PART_KINDS:
        parts = getattr(typed, kind)
        _refuse_twice((part.name for part in parts), kind, "name")
        for index, part in enumerate(parts):
            at = f"{kind}[{index}]"
            if kind == "commands" and "." in part.name:
                raise ManifestError("a command's name has no dot (EXT-8)", field=f"{at}.name")
            if part.input_schema is not None:
                of_object = kind in {"tools", "commands"}
                check_schema(part.input_schema, f"{at}.input_schema", of_object=of_object)
            output = getattr(part, "output_schema", None)
            if output is not None:
                check_schema(output, f"{at}.output_schema", of_object=False)


def _refuse_twice(values: Iterable[str], at: str, key: str) -> None:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            raise ManifestError(f"{value!r} stands there twice", field=f"{at}[{index}].{key}" if key else at)
        seen.add(value)


def _check_hooks(typed: ManifestDocument) -> None:
    # A call of a hook names its point alone, so a worker could not tell two at one point apart.
    _refuse_twice((hook.point for hook in typed.hooks), "hooks", "point")
    for index, hook in enumerate(typed.hooks):
        at = f"hooks[{index}]"
        if hook.point not in HOOK_POINTS:
            near = nearest(hook.point, HOOK_POINTS)
            meant = f"; did you mean {near!r}?" if near else ""
            raise ManifestError(f"there is no hook point {hook.point!r}{meant}", field=f"{at}.point")
        if hook.tools and hook.point not in _TOOL_POINTS:
            raise ManifestError(f"{hook.point!r} is not about a tool", field=f"{at}.tools")
        if hook.rewrites and hook.point != "tool_call":
            raise ManifestError("only a 'tool_call' hook rewrites arguments (EXT-11)", field=f"{at}.rewrites")


def _check_times(typed: ManifestDocument) -> None:
    resources = typed.resources
    if resources.concurrency != 1:
        raise ManifestError(
            "a worker has one call at a time; ask for more `workers` instead", field="resources.concurrency"
        )
    if resources.spares > resources.workers:
        raise ManifestError("there are never more spares than workers", field="resources.spares")


def _check_sandbox(typed: ManifestDocument) -> None:
    wish = typed.sandbox
    if wish.network == "allow" and wish.level != "none":
        raise ManifestError("the network is only allowed in level 'none' (EXT-30)", field="sandbox.network")
    for index, name in enumerate(wish.required):
        if name not in PROTECTIONS:
            near = nearest(name, PROTECTIONS)
            meant = f"; did you mean {near!r}?" if near else f"; there are {', '.join(PROTECTIONS)}"
            raise ManifestError(f"there is no protection {name!r}{meant}", field=f"sandbox.required[{index}]")
    _refuse_twice(wish.required, "sandbox.required", "")


def _check_environment(typed: ManifestDocument) -> None:
    _refuse_twice(typed.environment, "environment", "")
    for index, name in enumerate(typed.environment):
        if name.startswith(_OWN_VARIABLES):
            raise ManifestError(f"{name} is the node's own", field=f"environment[{index}]")


def _entry(entry: EntryDocument, directory: Path) -> PythonEntry | CommandEntry:
    if (entry.python is None) == (entry.command is None):
        raise ManifestError("an entry is either `python` or `command`", field="entry")
    if entry.python is not None:
        module, _, name = entry.python.partition(":")
        return PythonEntry(module, name)
    assert entry.command is not None
    _check_program(entry.command[0], directory)
    return CommandEntry(entry.command)


def _check_program(word: str, directory: Path) -> None:
    path = os.path.realpath(directory / word)  # of an absolute word, that word
    field = "entry.command[0]"
    if not word.startswith("/") and not inside(path, str(directory)):
        raise ManifestError(f"{word!r} leads out of the extension's directory", field=field)
    if not Path(path).is_file():
        hint = "" if "/" in word else "; a program of the system is named by its absolute path"
        raise ManifestError(f"{word!r} is no file of the extension's directory{hint}", field=field)
    if not os.access(path, os.X_OK):
        raise ManifestError(f"{word!r} may not be executed", field=field)


def _resolved(wish: SandboxWish, directory: Path) -> SandboxWish:
    return msgspec.structs.replace(
        wish,
        read=tuple(_granted(one, directory, f"sandbox.read[{index}]") for index, one in enumerate(wish.read)),
        write=tuple(
            _granted(one, directory, f"sandbox.write[{index}]") for index, one in enumerate(wish.write)
        ),
    )


def _granted(path: str, directory: Path, field: str) -> str:
    if path.startswith("~"):
        raise ManifestError("`~` is not expanded; name an absolute path", field=field)
    return os.path.realpath(directory / path)


def inside(path: str, directory: str) -> bool:
    """Whether `path` is `directory` or lies below it; both absolute and resolved."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")
