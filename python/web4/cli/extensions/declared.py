"""What an extension's code declares beside what its manifest says, and writing the one into the other (EXT-43)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import tomlkit
import tomlkit.items
from tomlkit.exceptions import TOMLKitError

from web4.cli.errors import CommandError
from web4.extensions.manifests.manifest import Hook, Part, Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Parts = dict[str, list[dict[str, Any]]]
"""By `tools`, `commands`, `hooks` and so on: entries as they stand in a manifest."""

GROUPS: Final[dict[str, tuple[str, type[msgspec.Struct]]]] = {
    "tools": ("name", Tool),
    **dict.fromkeys(("commands", "services", "workloads", "rules"), ("name", Part)),
    "hooks": ("point", Hook),
}
"""What tells the parts of a group apart, and what they are."""
_SCHEMAS: Final = frozenset({"input_schema", "output_schema"})


class Difference(NamedTuple):
    """Where code and manifest do not say the same.

    Args:
        group: `tools`, `hooks`, …
        name: Of the part; of a hook, its point.
        key: Of the manifest; None where the part as a whole is in one of them only.
        text: What differs.
    """

    group: str
    name: str
    key: str | None
    text: str

    @property
    def where(self) -> str:
        """The place, dotted."""
        return ".".join(filter(None, (self.group, self.name, self.key)))


def differences(document: Mapping[str, Any], declared: Parts) -> list[Difference]:
    """What differs. What the code leaves at its default is the manifest's to say.

    Args:
        document: A manifest as it is written, sound or not.
        declared: Of the code.
    """
    found = []
    for group, (key, _) in GROUPS.items():
        written = _named(document.get(group), key)
        stated = {str(one[key]): _stated(group, one) for one in declared.get(group, [])}
        for name in stated.keys() - written.keys():
            found.append(Difference(group, name, None, "it is in the code and not in the manifest"))
        for name in written.keys() - stated.keys():
            found.append(Difference(group, name, None, "it is in the manifest and not in the code"))
        for name in written.keys() & stated.keys():
            for one, value in stated[name].items():
                if not _same(written[name].get(one), value):
                    found.append(Difference(group, name, one, _told(one, written[name].get(one), value)))
    return sorted(found, key=lambda one: (list(GROUPS).index(one.group), one.name, one.key or ""))


def write_declared(manifest: Path, declared: Parts) -> None:
    """Make a manifest say what the code declares, no more and no less. Blocks.

    What is not about parts stays as it is, comments included; so do keys of a part that the code says nothing of.

    Raises:
        CommandError: `usage`: it cannot be said in TOML, or the manifest is too far from being one.
        OSError: It cannot be written; it is as it was.
    """
    text = manifest.read_text(encoding="utf-8")
    changed = _in_json(text, declared) if manifest.suffix == ".json" else _in_toml(text, declared)
    descriptor, draft = tempfile.mkstemp(prefix=f".{manifest.name}.", dir=manifest.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(changed)
        Path(draft).chmod(manifest.stat().st_mode & 0o777)
        Path(draft).replace(manifest)
    except BaseException:
        Path(draft).unlink()
        raise


def _in_json(text: str, declared: Parts) -> str:
    document = msgspec.json.decode(text)
    _put(document, declared, lambda value: value, list, dict)
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _in_toml(text: str, declared: Parts) -> str:
    try:
        document = tomlkit.parse(text)

        def group() -> tomlkit.items.AoT:
            document.add(tomlkit.nl())
            return tomlkit.aot()

        _put(document, declared, _inline, group, tomlkit.table)
        return tomlkit.dumps(document)
    except (TOMLKitError, ValueError, TypeError, AttributeError) as error:
        raise CommandError(
            f"what the code declares cannot be written into this manifest ({error}); TOML has no null: "
            "a schema that needs one stands in web4-extension.json",
            code="usage",
        ) from None


def _put(
    document: Any,
    declared: Parts,
    form: Callable[[Any], Any],
    new_group: Callable[[], Any],
    new_part: Callable[[], Any],
) -> None:
    for group, (key, _) in GROUPS.items():
        stated = {one[key] for one in declared.get(group, ())}
        entries = document.get(group, ())
        for place in reversed(range(len(entries))):
            if entries[place].get(key) not in stated:
                del entries[place]
        if group in document and not entries:
            del document[group]
    for group, entries in declared.items():
        key = GROUPS[group][0]
        for entry in entries:
            if group not in document:
                document[group] = new_group()
            there = next((one for one in document[group] if one.get(key) == entry[key]), None)
            if there is None:
                document[group].append(new_part())
                there = document[group][-1]
            for name, value in _stated(group, entry).items():
                if not _same(there.get(name), value):
                    there[name] = form(value)


def _inline(value: Any) -> Any:
    """As it stands on one line."""
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        for key, one in value.items():
            table[key] = _inline(one)
        return table
    if isinstance(value, list | tuple):
        array = tomlkit.array()
        for one in value:
            array.append(_inline(one))
        return array
    return tomlkit.item(value)


def _named(entries: Any, key: str) -> dict[str, dict[str, Any]]:
    if not isinstance(entries, list):
        return {}
    return {str(one[key]): one for one in entries if isinstance(one, dict) and key in one}


def _stated(group: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the code says of a part, without what is the default anyway."""
    fields = {one.name: one for one in msgspec.structs.fields(GROUPS[group][1])}
    return {
        name: _without_null(value)
        for name, value in entry.items()
        if name in fields and (fields[name].required or not _same(value, _default(fields[name])))
    }


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return None if field.default is msgspec.NODEFAULT else field.default


def _without_null(value: Any) -> Any:
    """A default of null in a schema says nothing, and TOML has no word for it."""
    if isinstance(value, dict):
        return {key: _without_null(one) for key, one in value.items() if (key, one) != ("default", None)}
    return [_without_null(one) for one in value] if isinstance(value, list | tuple) else value


def _same(one: Any, other: Any) -> bool:
    return bool(_without_null(one) == _without_null(other))


def _told(key: str, written: Any, stated: Any) -> str:
    if key in _SCHEMAS:
        return "it is not what the types say" if written is not None else "it is missing"
    return f"the manifest says {_short(written)}, the code says {_short(stated)}"


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}…"


def entries_of(declared: Parts) -> Sequence[tuple[str, str]]:
    """Group and name of all that is declared."""
    return [(group, str(one[GROUPS[group][0]])) for group, entries in declared.items() for one in entries]
