"""What a hostile extension does with processes. Each gets the worker's socket and says `b"up"` when it is under way."""

import contextlib
import os
import resource
import signal
import socket
import sys
import threading
import time


def up(sock: socket.socket) -> None:
    sock.sendall(b"up")


def rest() -> None:
    while True:
        time.sleep(60)


def echo(sock: socket.socket) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)


def leave(sock: socket.socket) -> None:
    sys.exit(7)


def fault(sock: socket.socket) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def spin(sock: socket.socket) -> None:
    up(sock)
    while True:
        pass


def stubborn(sock: socket.socket) -> None:
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    threading.Thread(target=rest, daemon=True).start()
    up(sock)
    while True:
        pass


def stopped(sock: socket.socket) -> None:
    up(sock)
    os.kill(os.getpid(), signal.SIGSTOP)
    rest()


def hoard(sock: socket.socket) -> None:
    held = []
    with contextlib.suppress(OSError):
        while True:
            held.append(os.dup(1))
    up(sock)
    rest()


def litter(sock: socket.socket) -> None:
    """Fill the private directory: deep, forbidden, linked, and many."""
    top = os.environ["TMPDIR"]
    os.chdir(top)
    for _ in range(int(os.environ.get("DEPTH", "100"))):
        os.mkdir("d")
        os.chdir("d")
    os.chdir(top)
    os.mkdir("readable")
    os.mkdir("readable/inner")
    os.chmod("readable", 0o500)
    os.mkdir("closed")
    os.mkdir("closed/inner")
    for path in ("closed/inner/file", "file"):
        with open(path, "w") as file:
            file.write("x")
    os.symlink("/", "closed/root")
    os.symlink("nowhere", "dangling")
    os.mkfifo("fifo")
    os.chmod("closed/inner", 0)
    os.chmod("closed", 0)
    os.mkdir("many")
    for number in range(int(os.environ.get("MANY", "400"))):
        os.close(os.open(f"many/{number}", os.O_CREAT | os.O_WRONLY))
    up(sock)
    rest()


def grandchildren(sock: socket.socket) -> None:
    for _ in range(3):
        if os.fork() == 0:
            for _ in range(2):
                if os.fork() == 0:
                    rest()
            rest()
    up(sock)
    rest()


def double_forks(sock: socket.socket) -> None:
    for _ in range(4):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                stay()
            os._exit(0)
        os.wait()
    up(sock)
    rest()


def stay() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    rest()


def chains(sock: socket.socket) -> None:
    """Three lines of processes: each forks its successor into a new session and ends."""
    for _ in range(3):
        if os.fork() == 0:
            while True:
                os.setsid()
                while True:
                    try:
                        if os.fork():
                            os._exit(0)
                        break
                    except OSError:
                        continue
    up(sock)
    rest()


def bomb(sock: socket.socket) -> None:
    up(sock)
    while True:
        with contextlib.suppress(OSError):
            os.fork()


def daemon(sock: socket.socket) -> None:
    """The worker itself ends; what it leaves sleeps on."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            stay()
        os._exit(0)
    os.wait()
    up(sock)
    sys.exit(3)


def stopped_tree(sock: socket.socket) -> None:
    for _ in range(3):
        if os.fork() == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            rest()
    up(sock)
    os.kill(os.getpid(), signal.SIGSTOP)
    rest()


def assassin(sock: socket.socket) -> None:
    """Kill whatever the numbers in the environment name, and the parent; tell how many of them could be."""
    killed = 0
    for word in [*os.environ["TARGETS"].split(), str(os.getppid())]:
        if int(word) > 0:
            with contextlib.suppress(OSError):
                os.kill(int(word), signal.SIGKILL)
                killed += 1
    sock.sendall(b"up%d" % killed)
    rest()


def report(sock: socket.socket) -> None:
    """What can be seen from inside (scenario 14)."""
    import json
    import random
    import tempfile

    with contextlib.suppress(OSError):
        pass
    seen = {
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
        "environment": dict(os.environ),
        "random": random.random(),
        "tmp": tempfile.gettempdir(),
        "tmp_entries": os.listdir(os.environ["TMPDIR"]),
        "cwd": os.getcwd(),
        "limits": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "stdin": os.read(0, 10).decode(),
        "session": os.getsid(0) == os.getpid(),
        "threads": threading.active_count(),
        "native": threading.get_native_id() == os.getpid(),
        "affinity": sorted(os.sched_getaffinity(threading.get_native_id()))
        == sorted(os.sched_getaffinity(0)),
    }
    sock.sendall(json.dumps(seen).encode())
    rest()


def killer(sock: socket.socket) -> None:
    """As `assassin`, but leaves its parent alone."""
    for word in os.environ["TARGETS"].split():
        if int(word) > 0:
            with contextlib.suppress(OSError):
                os.kill(int(word), signal.SIGKILL)
    up(sock)
    rest()


def eater(sock: socket.socket) -> None:
    up(sock)
    sock.recv(10)
    held = [os.dup(1) for _ in range(10)]
    eaten = [bytearray(1 << 20) for _ in range(int(os.environ["MIB"]))]
    for part in eaten:
        for at in range(0, len(part), 4096):
            part[at] = 1
    up(sock)
    rest()
    print(held)
