"""Fixtures shared with the transport's own tests."""

from tests.rtt.conftest import url

__all__ = ["url"]
