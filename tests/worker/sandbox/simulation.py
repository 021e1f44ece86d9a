"""The kernel's machine for seccomp programs, in a few lines: an oracle that shares no code with the assembler."""

from __future__ import annotations

import struct

ALLOWED = "allow"
KILLED = "kill"


def decide(program: bytes, number: int, arguments: tuple[int, ...] = (), *, architecture: int) -> str | int:
    """What a program answers: allow, kill, or an errno. Fails where the kernel's checker would refuse the program."""
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, architecture, 0, *padded)
    instructions = list(struct.iter_unpack("<HBBI", program))
    assert 0 < len(instructions) <= 4096
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, constant = instructions[at]
        at += 1
        if code == 0x20:
            assert constant in range(0, 64, 4)
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x05:
            at += constant
        elif code == 0x15:
            at += if_true if accumulator == constant else if_false
        elif code == 0x35:
            at += if_true if accumulator >= constant else if_false
        elif code == 0x06:
            if constant in {0x7FFF0000, 0x80000000}:
                return ALLOWED if constant == 0x7FFF0000 else KILLED
            return int(constant) & 0xFFFF
        else:
            raise AssertionError(f"no such instruction: {code:#x}")
