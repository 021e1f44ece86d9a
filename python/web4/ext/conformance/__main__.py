"""Runs the checks against a program, one line each; status 1 if any of them fails."""

from __future__ import annotations

import argparse
import sys

from web4.ext.conformance.checks import Check, all_checks, greet
from web4.ext.conformance.program import NonconformingError, Program


def outcome(check: Check, argv: list[str], name: str, patience: float) -> str | None:
    """Run one check; None when the program does what is due, else what it did."""
    try:
        with Program(argv, patience) as program:
            greet(program, name)
            check.run(program)
    except NonconformingError as error:
        return str(error)
    return None


def main(arguments: list[str]) -> int:
    """Run all checks; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m web4.ext.conformance", description=__doc__)
    parser.add_argument(
        "--name", default="examples.conformance", help="what the program is told it is called"
    )
    parser.add_argument(
        "--patience", type=float, default=10.0, help="seconds to wait for anything it has to do"
    )
    parser.add_argument("argv", nargs="+", help="the program, behind --")
    given = parser.parse_args(arguments)
    failed = 0
    for check in all_checks():
        wrong = outcome(check, given.argv, given.name, given.patience)
        failed += wrong is not None
        print(f"{'ok  ' if wrong is None else 'FAIL'} {check.rule:7} {check.name}")  # noqa: T201
        if wrong is not None:
            print(f"             {wrong}")  # noqa: T201
    print(f"{len(all_checks()) - failed} of {len(all_checks())} checks passed")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
