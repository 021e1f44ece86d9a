"""What docs/security.md claims is proven by the tests that it names: they are there, and every claim names some."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()
PROOF = re.compile(r"`(\w+)::(\w+)`")
PYTHON_TEST = re.compile(r"^(?:async )?def (test_\w+)\(", flags=re.MULTILINE)
RUST_TEST = re.compile(r"#\[test\]\n(?:\s*(?:#\[|//).*\n)*\s*fn (\w+)\(")


def named() -> dict[str, set[str]]:
    """Every test of the repository, by the name of its file without the ending."""
    found: dict[str, set[str]] = {}
    for path in [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("rust_core/*/**/*.rs")]:
        pattern = PYTHON_TEST if path.suffix == ".py" else RUST_TEST
        found.setdefault(path.stem, set()).update(pattern.findall(path.read_text()))
    return found


def claims() -> list[str]:
    """The claims of the part that says what is protected, each with everything it says."""
    protected = PAGE.split("## Protected\n")[1].split("## Not protected\n")[0]
    return [claim.split("\n\n")[0] for claim in protected.split("\n- ")[1:]]


def test_docs_security_names_tests_that_exist() -> None:
    """A test that was renamed or removed takes its claim along."""
    tests = named()
    proofs = PROOF.findall(PAGE)
    assert len(proofs) > 50
    missing = [f"{file}::{test}" for file, test in proofs if test not in tests.get(file, set())]
    assert missing == []


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: re.sub(r"\W+", "_", claim[:40]))
def test_docs_security_proves_what_it_claims(claim: str) -> None:
    """Nothing is said to be protected without a test that says so, too."""
    assert PROOF.search(claim), claim


def test_docs_security_says_what_is_not_protected() -> None:
    """Section 21: the page must say all of this."""
    rest = PAGE.split("## Not protected\n")[1].lower()
    for word in (
        "addresses, timing and traffic volume",
        "learns the acceptor's public key",
        "cuts the network",
        "stolen private key",
        "there is no pki",
        "the host",
        "not post-quantum",
    ):
        assert word in rest, word
