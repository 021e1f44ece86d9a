"""A real PostgreSQL of our own: in a directory of its own, on a Unix socket, with fsync on; ended by its pid."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

_DEBIAN: Final = Path("/usr/lib/postgresql")
_WITHIN: Final = 60.0
_SETTINGS: Final = """
listen_addresses = ''
unix_socket_directories = '{directory}'
fsync = on
full_page_writes = on
shared_buffers = 32MB
max_connections = 60
max_wal_size = 128MB
log_line_prefix = '%m [%p] '
"""


def find_binaries() -> Path | None:
    """The directory of `initdb` and `postgres`: on the path, or where Debian keeps them; the newest."""
    found = shutil.which("initdb")
    candidates = sorted(_DEBIAN.glob("*/bin"), key=lambda each: int(each.parent.name), reverse=True)
    if found is not None:
        candidates.insert(0, Path(found).resolve().parent)
    for each in candidates:
        if (each / "initdb").exists() and (each / "postgres").exists():
            return each
    return None


class PostgresqlServer:
    """One server. It does not run as root, which PostgreSQL refuses."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        # A socket's path is short: under the system's directory for temporary files, never under a test's own.
        self.directory = Path(tempfile.mkdtemp(prefix="web4-pg-"))
        self._data = self.directory / "data"
        self._user = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
        self._call(
            "initdb",
            "-D",
            self._data,
            "-U",
            "web4",
            "-A",
            "trust",
            "--no-instructions",
            "-E",
            "UTF8",
            "--locale=C",
        )
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS.format(directory=self.directory))

    def conninfo(self, database: str = "postgres", **more: str) -> str:
        """How to reach it."""
        given = {"host": str(self.directory), "user": "web4", "dbname": database, **more}
        return " ".join(f"{name}={value}" for name, value in given.items())

    @property
    def data(self) -> Path:
        """Its files."""
        return self._data

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None

    def start(self, *settings: str) -> None:
        """Start it, perhaps with other settings, and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, *settings],
                stdout=log,
                stderr=log,
                **self._as_user(),
            )
        deadline = time.monotonic() + _WITHIN
        while subprocess.run(
            [self._binaries / "pg_isready", "-q", "-h", self.directory], check=False, capture_output=True
        ).returncode:
            assert self._process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT at once but in order, SIGQUIT as a crash does, without writing anything."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_WITHIN)
            self._process = None

    def remove(self) -> None:
        """Stop it and remove its files."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def sql(self, text: str, database: str = "postgres") -> str:
        """What `psql` answers, columns separated by `|`."""
        ran = subprocess.run(
            [self._binaries / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text, self.conninfo(database)],
            check=True,
            capture_output=True,
            text=True,
        )
        return ran.stdout.strip()

    def load(self, dump: str, database: str) -> None:
        """Run what `pg_dump` printed."""
        subprocess.run(
            [self._binaries / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", self.conninfo(database)],
            input=dump,
            check=True,
            capture_output=True,
            text=True,
        )

    def tool(self, name: str, *arguments: str | Path) -> str:
        """What another program of its version prints."""
        return self._call(name, *arguments)

    def _call(self, name: str, *arguments: str | Path) -> str:
        ran: subprocess.CompletedProcess[str] = subprocess.run(
            [self._binaries / name, *arguments],
            check=False,
            capture_output=True,
            text=True,
            **self._as_user(),
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {"cwd": self.directory}
        return {
            "cwd": self.directory,
            "user": self._user.pw_uid,
            "group": self._user.pw_gid,
            "extra_groups": [],
        }


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom root has to be here; None for anybody else, who stays who they are."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("root, and no unprivileged user")
