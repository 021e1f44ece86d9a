"""What a hostile extension tries on whoever stands around it. Each gets the worker's socket and says `b"up"`."""

import ctypes
import json
import os
import socket
import sys
import threading
import time

MARK = "-".join(("of", "a", "sibling"))
"""Not written in one piece: who looks for it must not find itself."""


def rest() -> None:
    while True:
        time.sleep(60)


def shared(sock: socket.socket) -> None:
    """Tell of every mapping whose changes others see."""
    with open("/proc/self/maps") as maps:
        found = [line.split()[-1] for line in maps if line.split()[1][1::2] == "ws"]
    sock.sendall(b"up" + json.dumps(found).encode())
    rest()


def remember(sock: socket.socket) -> None:
    """Look through all of the memory for what another worker was given."""
    found = 0
    needle = (MARK + "=").encode()
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in maps:
            where, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            first, last = (int(word, 16) for word in where.split("-"))
            memory.seek(first)
            part = memory.read(last - first) or b""
            at = part.find(needle)
            while at >= 0:
                found += part[at + len(needle) : at + len(needle) + 6] == b"secret"
                at = part.find(needle, at + 1)
    sock.sendall(b"up%d" % found)
    rest()


def replace(sock: socket.socket) -> None:
    """Execute a program from a thread: its parent-death signal would be that of the thread, none."""
    os.set_inheritable(sock.fileno(), True)
    code = "import socket,time; socket.socket(fileno=%d).sendall(b'up0'); time.sleep(9999)" % sock.fileno()

    def execute() -> None:
        try:
            os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", code])
        except OSError as error:
            sock.sendall(b"up%d" % (error.errno or 0))

    threading.Thread(target=execute).start()
    rest()


def headless(sock: socket.socket) -> None:
    """The first thread ends, another goes on."""

    def go_on() -> None:
        while len(os.listdir("/proc/self/task/%d/fd" % os.getpid())) > 0:
            time.sleep(0.001)
        sock.sendall(b"up")
        rest()

    threading.Thread(target=go_on).start()
    ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)


def hand_over(sock: socket.socket) -> None:
    """Send the node descriptors, for it to close."""
    try:
        socket.send_fds(sock, [b"up0"], [1] * 8)
    except OSError as error:
        sock.sendall(b"up%d" % (error.errno or 0))
    rest()
