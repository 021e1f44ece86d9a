"""How a node is set up: what `web4.toml` may say, and what a program may say instead (UX-36, LIM-1)."""

from __future__ import annotations

import re
import tomllib
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn

import msgspec

from web4.extensions.manifests.unknown_keys import first_unknown_key
from web4.foundation.codec import AgentId, Fingerprint
from web4.foundation.misfit import misfit
from web4.mesh.registry.told import Introduced
from web4.mesh.registry.toml_lines import line_of
from web4.node.errors import ConfigurationError
from web4.rtt.errors import TransportUnavailableError
from web4.rtt.transports.address import Address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG_FILE: Final = "web4.toml"
MAX_BYTES: Final = 1024 * 1024
LISTENED: Final = frozenset({"tcp", "unix", "memory"})
"""Transports that a node may listen by."""
_SECRET: Final = re.compile(r"password\s*=|://[^/@\s]*:[^/@\s]*@", re.IGNORECASE)
Url = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class NodeSection(_Section, frozen=True, kw_only=True):
    """`[node]`. `name` is the agent's name, without authority (ID-3); the directory's when left out."""

    name: AgentId | None = None


class JournalSection(_Section, frozen=True, kw_only=True):
    """`[journal]`: where what is durable is kept (JRN-24d).

    `backend = "postgresql"` takes `conninfo`, as libpq does, without a password; or `conninfo_env`, the name of an
    environment variable that holds it whole. `profile` is the durability of a commit (JRN-5).
    """

    backend: Literal["sqlite", "postgresql"] = "sqlite"
    profile: Literal["strict", "relaxed"] = "strict"
    conninfo: Annotated[str, msgspec.Meta(max_length=1_024)] = ""
    conninfo_env: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None


class RttSection(_Section, frozen=True, kw_only=True):
    """`[rtt]`: where the node listens, as `tcp://host:port` or `unix:///path`; nowhere when left out."""

    listen: Annotated[tuple[Url, ...], msgspec.Meta(max_length=16)] = ()


class KnowledgeSection(_Section, frozen=True, kw_only=True):
    """`[knowledge]`: how claims are accepted (KNOW-5), and how many confirmers that takes."""

    mode: Literal["strict", "relaxed"] = "strict"
    confirmers: Annotated[int, msgspec.Meta(ge=2, le=64)] = 2


class FetchSection(_Section, frozen=True, kw_only=True):
    """`[fetch]`: `allow` names hosts with ports that are fetched from in spite of their address (FETCH-11)."""

    enabled: bool = True
    allow: Annotated[tuple[Url, ...], msgspec.Meta(max_length=64)] = ()


class MeshSection(_Section, frozen=True, kw_only=True):
    """`[mesh]`: whether this node takes part, and whether it relays for others (MESH-7).

    `introduced`: which addresses of introduced peers are dialled: those that their introducer is `reached` at, `public`
    ones only, or `never` any. `allow` names networks in which they may be besides, such as `10.0.0.0/8`.
    """

    enabled: bool = True
    relays: bool = True
    introduced: Introduced = "reached"
    allow: Annotated[tuple[Url, ...], msgspec.Meta(max_length=64)] = ()


class LimitsSection(_Section, frozen=True, kw_only=True):
    """`[limits]` (section 22). `pace`: whether the machine's load is measured, told to peers and heeded (PACE-2).

    `strangers_per_second`: how much is read of all peers together that are not trusted.
    """

    pace: bool = True

    messages_per_second: Positive = 500
    message_burst: Positive = 1_000
    strangers_per_second: Positive = 64
    strangers_burst: Positive = 100
    handshakes_per_second: Positive = 5
    handshake_burst: Positive = 20


class ObserveSection(_Section, frozen=True, kw_only=True):
    """`[observe]`: whether events go to `logs/events.jsonl`, and whether contents are shown in them (OBS-5)."""

    file: bool = True
    content: bool = False


class MissionSection(_Section, frozen=True, kw_only=True):
    """`[mission]`: whose missions are heeded besides this node's own (DRIFT-1)."""

    signers: tuple[Fingerprint, ...] = ()


class DoorSection(_Section, frozen=True, kw_only=True):
    """`[doors.ndjson]`: the control socket."""

    enabled: bool = True
    allowed_uids: tuple[int, ...] = ()


class DoorsSection(_Section, frozen=True, kw_only=True):
    """`[doors]`."""

    ndjson: DoorSection = DoorSection()


class NodeConfig(_Section, frozen=True, kw_only=True):
    """All of it. `extensions` is read by the room that runs them, `web4 ext` says what is wrong with it."""

    node: NodeSection = NodeSection()
    journal: JournalSection = JournalSection()
    rtt: RttSection = RttSection()
    knowledge: KnowledgeSection = KnowledgeSection()
    fetch: FetchSection = FetchSection()
    mesh: MeshSection = MeshSection()
    limits: LimitsSection = LimitsSection()
    observe: ObserveSection = ObserveSection()
    mission: MissionSection = MissionSection()
    doors: DoorsSection = DoorsSection()
    extensions: dict[str, Any] = msgspec.field(default_factory=dict)


def read_config(path: Path) -> NodeConfig:
    """Read a configuration file; a missing one says nothing. Blocks.

    Raises:
        ConfigurationError: It cannot be read, or does not fit. Names the file, the line and the key.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return NodeConfig()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}", code="configuration") from None
    if len(raw) > MAX_BYTES:
        raise ConfigurationError(f"{path} has more than {MAX_BYTES:,} bytes", code="configuration")
    try:
        text = raw.decode("utf-8")
        document = tomllib.loads(text)
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8", code="configuration") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is no TOML: {error}", code="configuration") from None
    return config_of(document, text=text, path=path)


def config_of(document: Mapping[str, Any], *, text: str = "", path: Path | None = None) -> NodeConfig:
    """What a parsed file says. `path` is named in errors.

    Raises:
        ConfigurationError: It does not fit.
    """
    unknown = first_unknown_key(dict(document), NodeConfig)
    if unknown is not None:
        _refuse("configuration_key", str(unknown), unknown.field, text, path)
    try:
        config = msgspec.convert(document, NodeConfig)
    except msgspec.ValidationError as error:
        wrong = misfit(error, document, NodeConfig)
        _refuse("configuration_value", str(wrong), wrong.field, text, path)

    for number, address in enumerate(config.rtt.listen):
        try:
            scheme = Address.parse(address).scheme
        except TransportUnavailableError as error:
            _refuse("configuration_value", str(error), f"rtt.listen[{number}]", text, path)
        if scheme not in LISTENED:
            message = f"{address[:80]!r}: write tcp://host:port or unix:///path"
            _refuse("configuration_value", message, f"rtt.listen[{number}]", text, path)
    if _SECRET.search(config.journal.conninfo):
        _refuse(
            "configuration_value",
            "a password stands in no configuration: write conninfo_env, or what libpq reads (PGPASSWORD, a passfile)",
            "journal.conninfo",
            text,
            path,
        )
    for number, network in enumerate(config.mesh.allow):
        try:
            ip_network(network)
        except ValueError as error:
            _refuse("configuration_value", str(error), f"mesh.allow[{number}]", text, path)
    return config


def _refuse(code: str, message: str, field: str, text: str, path: Path | None) -> NoReturn:
    line = line_of(field, text) if field else None
    where = "" if path is None else f"{path}, line {line}: " if line else f"{path}: "
    raise ConfigurationError(f"{where}{message}", code=code, field=field or None)
