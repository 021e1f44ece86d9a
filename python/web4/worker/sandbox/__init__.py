"""The sandbox a worker enters, built of what the Linux kernel gives without privileges (section 8)."""

from web4.worker.sandbox.entering import enter, prepare, rehearse
from web4.worker.sandbox.errors import Unprotected
from web4.worker.sandbox.privileges import drop_bounding_set

__all__ = ["Unprotected", "drop_bounding_set", "enter", "prepare", "rehearse"]
