"""Where a connection string leads. Names are resolved by Trio: libpq would block for them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import psycopg
import trio
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from web4.journal.errors import JournalOpenError

if TYPE_CHECKING:
    from collections.abc import Mapping


def parse(conninfo: str) -> dict[str, str]:
    """The parameters of a connection string.

    Raises:
        JournalOpenError: `unreachable`: it is none. The message quotes nothing of it: it may hold a password.
    """
    try:
        given = conninfo_to_dict(conninfo)
    except psycopg.Error:
        given = None
    if given is None:
        raise JournalOpenError("the connection string is none that libpq reads", code="unreachable")
    return {name: str(value) for name, value in given.items() if value is not None}


async def attempts(conninfo: str, *, settings: tuple[str, str], defaults: Mapping[str, str]) -> list[str]:
    """Connection strings to try in turn: one for each address of each host, so that none needs to be resolved.

    Args:
        conninfo: As it was given.
        settings: Options of the session that go before those that were given, and those that go after and so win.
        defaults: Parameters for those that were not given.
    """
    given = parse(conninfo)
    for option in pq.Conninfo.get_defaults():
        # libpq's own sources: the environment and what was compiled in.
        name = option.keyword.decode()
        if option.val is not None and name in {"host", "hostaddr", "port"}:
            given.setdefault(name, option.val.decode())
    options = (settings[0], given.pop("options", ""), settings[1])
    given = {**defaults, **given, "options": " ".join(options)}
    hosts = given.get("host", "").split(",")
    ports = given.get("port", "").split(",")
    if "hostaddr" in given:
        return [make_conninfo("", **given)]
    found = []
    for index, host in enumerate(hosts):
        port = ports[index if len(ports) == len(hosts) else 0]
        one = {**given, "host": host, "port": port}
        if not host or host.startswith(("/", "@")):
            found.append(make_conninfo("", **one))
            continue
        try:
            resolved = await trio.socket.getaddrinfo(host, port or None, type=socket.SOCK_STREAM)
        except OSError:
            continue
        addresses = dict.fromkeys(str(entry[4][0]) for entry in resolved)
        found.extend(make_conninfo("", **one, hostaddr=address) for address in addresses)
    return found


def where(conninfo: str) -> str:
    """What a message may say of a connection string: host, port and database."""
    given = parse(conninfo)
    place = given.get("host") or given.get("hostaddr") or "the default host"
    port = f":{given['port']}" if "port" in given else ""
    return f"{place}{port}/{given.get('dbname', '')}"


def without_secrets(message: str, conninfo: str) -> str:
    """`message` without the password, should a library have put it there; on one line."""
    for name in ("password", "sslpassword", "oauth_client_secret"):
        secret = parse(conninfo).get(name)
        if secret:
            message = message.replace(secret, "[redacted]")
    return " ".join(message.split())
