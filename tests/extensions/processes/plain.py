"""Stands in for the SDK: runs a function of the extension with the worker's socket, and no protocol."""

import importlib
import socket
import sys


def serve(descriptor: int, module: str, name: str, directory: str) -> None:
    sys.path.insert(0, directory)
    getattr(importlib.import_module(module), name)(socket.socket(fileno=descriptor))
