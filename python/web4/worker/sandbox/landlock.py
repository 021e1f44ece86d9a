"""Landlock: rules about paths, TCP, abstract sockets and signals that a process lays on itself, for good.

A rule set only ever takes rights away, whatever the user may do otherwise. Each kernel knows the rights up to its ABI;
what is newer is left out here, and `Protections.landlock` tells which ABI it was.
"""

from __future__ import annotations

import os
import struct
from typing import Final

from web4.worker.sandbox import libc

NEWEST: Final = 7
"""The newest ABI this module makes use of."""
WHOLE_FILES: Final = 3
"""The first ABI that covers truncation; before it, a file could be emptied that may not be written."""

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REMOVE_DIR: Final = 1 << 4
REMOVE_FILE: Final = 1 << 5
MAKE_CHAR: Final = 1 << 6
MAKE_DIR: Final = 1 << 7
MAKE_REG: Final = 1 << 8
MAKE_SOCK: Final = 1 << 9
MAKE_FIFO: Final = 1 << 10
MAKE_BLOCK: Final = 1 << 11
MAKE_SYM: Final = 1 << 12
REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15

READ: Final = READ_FILE | READ_DIR
WRITE: Final = (
    WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM | REFER | TRUNCATE
)
"""Neither devices nor sockets are made, by any grant."""
_OF_A_FILE: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

_ALL_FILE_RIGHTS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP_SINCE: Final = 4
_SCOPES_SINCE: Final = 6
_FLAGS_SINCE: Final = 7
_BIND_AND_CONNECT_TCP: Final = 0b11
_SCOPE_ABSTRACT_SOCKETS: Final = 0b01
_SCOPE_SIGNALS: Final = 0b10
_RULE: Final = struct.Struct("=Qi")
_VERSION: Final = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH: Final = 1
# What a worker is denied must not fill the machine's audit log: SAME_EXEC_OFF and SUBDOMAINS_OFF.
_LOG_NOTHING: Final = 0b101


def abi() -> int:
    """The kernel's ABI, as far as this module knows it; 0 where there is no Landlock, or it is switched off."""
    try:
        return min(libc.syscall(libc.SYS_LANDLOCK_CREATE_RULESET, 0, 0, _VERSION), NEWEST)
    except OSError:
        return 0


class RuleSet:
    """Rules being made. Nothing is in force before `restrict`.

    Args:
        version: The ABI to make rules of, 1 to `abi()`.
        tcp: Whether TCP is denied, where the ABI can.
        sockets: Whether abstract Unix sockets of others are, likewise.
        signals: Whether signals to others are, likewise; `scoped` tells if they will be.
    """

    def __init__(self, version: int, *, tcp: bool, sockets: bool, signals: bool) -> None:
        self._version = version
        self._rights = next(
            rights for since, rights in reversed(_ALL_FILE_RIGHTS.items()) if version >= since
        )
        self.scoped: Final = signals and version >= _SCOPES_SINCE
        scopes = sockets * _SCOPE_ABSTRACT_SOCKETS | signals * _SCOPE_SIGNALS
        attributes = struct.pack(
            "=QQQ",
            self._rights,
            _BIND_AND_CONNECT_TCP if tcp and version >= _TCP_SINCE else 0,
            scopes if version >= _SCOPES_SINCE else 0,
        )
        self._rule = bytearray(_RULE.size)
        self._address = libc.address(self._rule)
        self._descriptor = libc.syscall(
            libc.SYS_LANDLOCK_CREATE_RULESET, libc.address(attributes), len(attributes), 0
        )

    def allow(self, descriptor: int, rights: int, *, directory: bool) -> None:
        """Allow what lies at and beneath an open path (`O_PATH` will do). The path may be closed afterwards.

        Raises:
            OSError: The kernel refuses, a file that is no `directory` say.
        """
        rights &= self._rights if directory else self._rights & _OF_A_FILE
        _RULE.pack_into(self._rule, 0, rights, descriptor)
        libc.syscall(libc.SYS_LANDLOCK_ADD_RULE, self._descriptor, _PATH_BENEATH, self._address, 0)

    def restrict(self) -> int:
        """Put the rules in force for this thread and all it starts, and close them. Needs `no_new_privs`.

        Returns the ABI of the rules; 0 when the kernel refuses.
        """
        flags = _LOG_NOTHING if self._version >= _FLAGS_SINCE else 0
        try:
            libc.syscall(libc.SYS_LANDLOCK_RESTRICT_SELF, self._descriptor, flags)
        except OSError:
            return 0
        finally:
            self.close()
        return self._version

    def close(self) -> None:
        """Give up rules that are not in force."""
        os.close(self._descriptor)
