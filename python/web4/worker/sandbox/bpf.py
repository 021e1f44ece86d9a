"""Seccomp programs: a decision per system call number, and by its arguments where that matters.

The kernel runs such a program at every system call, so numbers are searched by halving. It sees numbers and
arguments only, never what an argument points to.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

ALLOW: Final = 0x7FFF0000
KILL_PROCESS: Final = 0x80000000
_ERRNO: Final = 0x00050000
DENY: Final = _ERRNO | errno.EPERM
REFUSE: Final = _ERRNO | errno.EACCES
ABSENT: Final = _ERRNO | errno.ENOSYS

ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32: Final = 0x40000000
"""The bit that makes a system call of x86_64 one of the x32 ABI, which has the same architecture word."""

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP: Final = 0x05  # BPF_JMP | BPF_JA
_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_NUMBER: Final = 0  # offsets into struct seccomp_data
_ARCHITECTURE: Final = 4
_ARGUMENTS: Final = 16
_WORD: Final = 0xFFFFFFFF
_FURTHEST: Final = 255  # a conditional jump has a byte for its distance
_LONGEST: Final = 4096

SELF: Final = -1
"""Stands for the process id of whoever enters the sandbox; `Program.of` puts it in."""


class If(NamedTuple):
    """One condition: half of an argument, masked, equals a value."""

    argument: int
    equals: int
    mask: int = _WORD
    high: bool = False


class Case(NamedTuple):
    """When all conditions hold, this is the answer."""

    conditions: tuple[If, ...]
    answer: int


class Check(NamedTuple):
    """The first case that holds answers; if none does, `otherwise`."""

    cases: tuple[Case, ...]
    otherwise: int


Decision = int | Check
_Instruction = tuple[int, int, int, int]
_Tree = list["_Instruction | Check"]


class Program(NamedTuple):
    """Instructions as the kernel takes them, and where the process id belongs in them."""

    code: bytes
    pid_at: tuple[int, ...]

    def of(self, pid: int) -> bytearray:
        """The program for one process."""
        code = bytearray(self.code)
        for at in self.pid_at:
            struct.pack_into("=I", code, at, pid)
        return code


def assemble(machine: str, decisions: Mapping[int, Decision], default: int) -> Program:
    """A program that decides by number: `default` for numbers that are not in `decisions`.

    Numbers above the highest in `decisions` are answered with ENOSYS, as an older kernel would: what is invented
    after this was written is not there. Calls of another architecture (32 bits on a 64-bit kernel) kill the process.

    Raises:
        ValueError: `machine` is not known, or the program is longer than the kernel takes.
    """
    if machine not in ARCHITECTURES:
        raise ValueError(f"no seccomp on {machine!r}")
    highest = max(decisions)
    body = _tree(_intervals(decisions, default, highest))
    head: _Tree = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, 0, 1, highest + 1),  # x32 too
        (_RETURN, 0, 0, ABSENT),
    ]
    return _link(head + body)


def _intervals(decisions: Mapping[int, Decision], default: int, highest: int) -> list[tuple[int, Decision]]:
    """Where each run of equal decisions begins."""
    runs: list[tuple[int, Decision]] = []
    for number in range(highest + 1):
        decision = decisions.get(number, default)
        if not runs or runs[-1][1] != decision:
            runs.append((number, decision))
    return runs


def _tree(runs: list[tuple[int, Decision]]) -> _Tree:
    """A search by halving; checks stand in it as they are, for `_link` to place."""
    if len(runs) == 1:
        decision = runs[0][1]
        return [decision if isinstance(decision, Check) else (_RETURN, 0, 0, decision)]
    middle = len(runs) // 2
    below, above = _tree(runs[:middle]), _tree(runs[middle:])
    pivot = runs[middle][0]
    if len(below) <= _FURTHEST:
        return [(_IF_AT_LEAST, len(below), 0, pivot), *below, *above]
    return [(_IF_AT_LEAST, 0, 1, pivot), (_JUMP, 0, 0, len(below)), *below, *above]


def _link(tree: _Tree) -> Program:
    """Put the checks behind the tree, once each, and jumps to them into it."""
    blocks: dict[Check, int] = {}
    tail: list[tuple[_Instruction, bool]] = []
    for one in tree:
        if isinstance(one, Check) and one not in blocks:
            blocks[one] = len(tree) + len(tail)
            tail.extend(_block(one))
    front = [
        (_JUMP, 0, 0, blocks[one] - at - 1) if isinstance(one, Check) else one for at, one in enumerate(tree)
    ]
    whole = [*((one, False) for one in front), *tail]
    if len(whole) > _LONGEST:
        raise ValueError(f"a filter of {len(whole)} instructions; the kernel takes {_LONGEST}")
    code = b"".join(struct.pack("=HBBI", *one) for one, _ in whole)
    return Program(code, tuple(at * 8 + 4 for at, (_, pid) in enumerate(whole) if pid))


def _block(check: Check) -> list[tuple[_Instruction, bool]]:
    """The instructions of a check; with each whether the process id belongs into it."""
    lines: list[tuple[_Instruction, bool]] = []
    for case in check.cases:
        tests: list[tuple[_Instruction, bool]] = []
        sizes = [2 if one.mask == _WORD else 3 for one in case.conditions]
        for at, one in enumerate(case.conditions):
            # Both machines are little-endian: the low half of an argument comes first.
            tests.append(((_LOAD, 0, 0, _ARGUMENTS + 8 * one.argument + 4 * one.high), False))
            if one.mask != _WORD:
                tests.append(((_AND, 0, 0, one.mask), False))
            to_next_case = sum(sizes[at + 1 :]) + 1
            tests.append(((_IF_EQUAL, 0, to_next_case, max(one.equals, 0)), one.equals == SELF))
        lines += [*tests, ((_RETURN, 0, 0, case.answer), False)]
    return [*lines, ((_RETURN, 0, 0, check.otherwise), False)]
