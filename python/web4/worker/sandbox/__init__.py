"""The sandbox a worker enters, built of what the Linux kernel gives without privileges (section 8)."""

from web4.worker.sandbox.entering import enter, prepare
from web4.worker.sandbox.errors import Unprotected

__all__ = ["Unprotected", "enter", "prepare"]
