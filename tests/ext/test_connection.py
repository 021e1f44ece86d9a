"""A worker's end of its socket."""

from __future__ import annotations

import os
import socket

import pytest

from web4.ext.connection import Connection
from web4.ext.failures import NodeGoneError


def test_a_connection_that_is_closed_does_not_wait_for_what_has_its_number_now() -> None:
    near, far = socket.socketpair()
    number = far.detach()
    connection = Connection(number)
    connection.close()
    reading, writing = os.pipe()
    try:
        assert number in (reading, writing)
        with pytest.raises(NodeGoneError):
            connection.receive()
    finally:
        os.close(reading)
        os.close(writing)
        near.close()
