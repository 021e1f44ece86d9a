"""The contract suite of a journal's backends (JRN-25)."""

from web4.testing.journal.contract import CHECKS, check_journal_backend
from web4.testing.journal.scribe import JournalContractError
from web4.testing.journal.store import Column, FailureKind, StoreFactory, StoreUnderTest

__all__ = [
    "CHECKS",
    "Column",
    "FailureKind",
    "JournalContractError",
    "StoreFactory",
    "StoreUnderTest",
    "check_journal_backend",
]
