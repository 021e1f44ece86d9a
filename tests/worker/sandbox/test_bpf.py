"""The assembler, against a simulation of the kernel's machine (EXT-29)."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.worker.sandbox.simulation import ALLOWED, KILLED, decide
from web4.worker.sandbox.bpf import (
    ABSENT,
    ALLOW,
    ARCHITECTURES,
    DENY,
    REFUSE,
    SELF,
    Case,
    Check,
    Decision,
    If,
    assemble,
)

ANSWERS: dict[int, str | int] = {
    ALLOW: ALLOWED,
    DENY: errno.EPERM,
    REFUSE: errno.EACCES,
    ABSENT: errno.ENOSYS,
}
X86 = ARCHITECTURES["x86_64"]
PID = 4321

words = some.integers(0, 2**32 - 1)
answers = some.sampled_from(sorted(ANSWERS))
conditions = some.builds(
    If,
    argument=some.integers(0, 5),
    equals=some.one_of(some.integers(0, 3), words, some.just(SELF)),
    mask=some.sampled_from((0xFFFFFFFF, 0xF, 0x80000000)),
    high=some.booleans(),
)
checks = some.builds(
    Check,
    cases=some.lists(
        some.builds(
            Case, conditions=some.lists(conditions, min_size=1, max_size=3).map(tuple), answer=answers
        ),
        max_size=4,
    ).map(tuple),
    otherwise=answers,
)
tables = some.dictionaries(some.integers(0, 500), some.one_of(answers, checks), min_size=1, max_size=100)


def meant(decision: Decision, arguments: tuple[int, ...]) -> str | int:
    if isinstance(decision, int):
        return ANSWERS[decision]
    for case in decision.cases:
        if all(
            (arguments[one.argument] >> (32 if one.high else 0)) & one.mask
            == (PID if one.equals == SELF else one.equals)
            for one in case.conditions
        ):
            return ANSWERS[case.answer]
    return ANSWERS[decision.otherwise]


@given(tables, answers, some.data())
def test_every_number_is_decided_as_written(
    table: dict[int, Decision], default: int, data: some.DataObject
) -> None:
    program = bytes(assemble("x86_64", table, default).of(PID))
    arguments = tuple(
        data.draw(some.one_of(some.integers(0, 3), some.just(PID), some.integers(0, 2**64 - 1)))
        for _ in range(6)
    )
    highest = max(table)
    for number in {*table, *range(0, highest + 1, 7), highest}:
        assert decide(program, number, arguments, architecture=X86) == meant(
            table.get(number, default), arguments
        )
    for number in (highest + 1, 512, 0x40000000, 0x40000001, 0xFFFFFFFF):
        if number > highest:
            assert decide(program, number, arguments, architecture=X86) == errno.ENOSYS


def test_other_architectures_are_killed() -> None:
    for machine, word in ARCHITECTURES.items():
        program = assemble(machine, {0: ALLOW}, ALLOW).code
        assert decide(program, 0, architecture=word) == ALLOWED
        for other in (0x40000003, 0x40000028, 0, *ARCHITECTURES.values()):  # i386, ARM
            if other != word:
                assert decide(program, 0, architecture=other) == KILLED


def test_long_programs_jump_far() -> None:
    """A conditional jump reaches 255 instructions; trees and checks are longer than that."""
    table: dict[int, Decision] = {}
    for number in range(800):
        table[number] = (
            Check((Case((If(number % 6, number),), ALLOW),), DENY) if number % 5 == 0 else number % 2 or ALLOW
        )
        if table[number] == 1:
            table[number] = REFUSE
    program = bytes(assemble("aarch64", table, ABSENT).of(PID))
    for number in range(800):
        arguments = tuple(number for _ in range(6))
        expected = meant(table[number], arguments)
        assert decide(program, number, arguments, architecture=ARCHITECTURES["aarch64"]) == expected


def test_what_cannot_be_assembled_is_told() -> None:
    with pytest.raises(ValueError, match="no seccomp on 'sparc'"):
        assemble("sparc", {0: ALLOW}, ALLOW)
    with pytest.raises(ValueError, match="the kernel takes 4096"):
        assemble("x86_64", {number: (ALLOW, DENY)[number % 2] for number in range(5000)}, ALLOW)
