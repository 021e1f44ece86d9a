"""Entering the sandbox: the one way in, and none out."""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
from typing import TYPE_CHECKING, Final

from web4.worker.request import PROTECTIONS, CommandEntry
from web4.worker.sandbox import landlock, libc
from web4.worker.sandbox.errors import Unprotected
from web4.worker.sandbox.filters import Wish, filter_for
from web4.worker.sandbox.joined import joined
from web4.worker.sandbox.measuring import Entering, measure, status_of
from web4.worker.sandbox.places import (
    Judge,
    hidden_names,
    homes,
    identity_of,
    places_of,
    real_path,
    run_by_the_node,
    system_places,
)
from web4.worker.sandbox.privileges import (
    become,
    drop_bounding_set,
    drop_capabilities,
    limit,
    lower_limits,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.worker.request import Protections, WorkerRequest
    from web4.worker.sandbox.places import Place

_SECCOMP_SET_MODE_FILTER: Final = 1


def prepare(request: WorkerRequest) -> None:
    """In the template, before the fork: work out what can be worked out once. Cheap when it was done before.

    It keeps no descriptor open, starts no thread and changes nothing of the process but its memory.
    """
    if not libc.LINUX:
        return
    homes(os.geteuid())
    lower_limits(request.limits)
    # What is wrong with the request is told by `enter`.
    with contextlib.suppress(Unprotected):
        system_places(hidden_names(request.sandbox.hidden), execute=request.sandbox.level != "strict")
    with contextlib.suppress(ValueError):
        for scoped, counted in itertools.product((False, True), repeat=2):
            filter_for(_wish(request, os.geteuid(), scoped=scoped, counted=counted))


def rehearse(request: WorkerRequest) -> None:
    """In the template, a few times: do of `enter` what changes nothing, so that its workers need not learn it.

    It makes rules without laying them on, and tries what a sandbox refuses; outside one that fails or does nothing.

    Raises:
        OSError: A path of `request` cannot be opened.
    """
    if not libc.LINUX:
        return
    _understand(request)
    status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        groups = joined(("/sys/fs/cgroup/web4.rehearsal",))
        rules = _rules(request)
        if rules:
            rules.close()
        libc.parent_death_signal()
        lower_limits(request.limits)
        _program(_wish(request, os.geteuid(), scoped=True, counted=True))
        nothing = Entering(
            landlock=1,
            scoped=True,
            root_granted=False,
            seccomp=True,
            self_only=True,
            address_space=True,
            groups=groups,
        )
        measure(request, nothing, status_of(status))
    finally:
        os.close(status)


def enter(request: WorkerRequest) -> Protections:
    """In the worker, after groups, session and descriptors: give up all that the request does not grant, for good.

    Returns what is in force, as measured (EXT-32). The process is of no use for anything but the extension
    afterwards, nor after an error. It must have one thread: some rules hold for the thread that lays them on.

    Raises:
        Unprotected: A protection is missing, or a grant reaches what is hidden (EXT-31, EXT-32).
        OSError: A granted path cannot be opened, or the user not be changed.
        ValueError: `required` or `without` names no protection; a path is not absolute.
    """
    _understand(request)
    if not libc.LINUX:
        raise Unprotected("workers need Linux: this system has neither Landlock nor seccomp")
    without = request.sandbox.without
    parent, node_user = os.getppid(), os.geteuid()
    status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        groups = joined(request.groups)
        rules = _rules(request)
        address_space = not groups.memory and "memory" not in without
        limit(request, address_space=address_space)
        if "capabilities" not in without:
            drop_bounding_set()
        become(request.user)
        if "capabilities" not in without:
            drop_capabilities()
        if "no_new_privs" not in without:
            libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        libc.prctl(libc.PR_SET_DUMPABLE, 1)  # a change of user would take its own /proc/self from it
        version = rules.restrict() if rules else 0
        scoped = rules is not None and rules.scoped and version > 0
        wish = _wish(request, node_user, scoped=scoped, counted=not address_space)
        filtered = "seccomp" not in without and _filter(wish)
        if os.getppid() != parent:
            raise Unprotected("the node died while its worker started")
        done = Entering(
            landlock=version,
            scoped=scoped,
            root_granted="/" in (*request.sandbox.read, *request.sandbox.write),
            seccomp=filtered,
            self_only=filtered and wish.self_only,
            address_space=address_space,
            groups=groups,
        )
        return measure(request, done, status_of(status))
    finally:
        os.close(status)


def _understand(request: WorkerRequest) -> None:
    sandbox = request.sandbox
    unknown = {*sandbox.required, *sandbox.without}.difference(PROTECTIONS)
    if unknown:
        raise ValueError(f"no protections: {', '.join(sorted(unknown))}")
    paths = (request.directory, request.tmp, *sandbox.read, *sandbox.write, *sandbox.hidden)
    relative = [one for one in paths if one[:1] != "/"]
    if relative:
        raise ValueError(f"not absolute: {', '.join(relative)}")
    if sandbox.network == "allow" and sandbox.level != "none":
        raise Unprotected(f"the network is allowed in level none alone, not in {sandbox.level} (EXT-30)")


def _rules(request: WorkerRequest) -> landlock.RuleSet | None:
    """Landlock's rules, not yet in force. Every path is judged, also where the kernel has no Landlock."""
    sandbox = request.sandbox
    if sandbox.level == "none":
        return None
    version = landlock.abi() if "landlock" not in sandbox.without else 0
    rules = None
    if version:
        rules = landlock.RuleSet(
            version,
            tcp="network" not in sandbox.without,
            sockets="network" not in sandbox.without,
            signals="signals" not in sandbox.without,
        )
    names = hidden_names(sandbox.hidden)
    judges = _judges(request, names)
    for place in places_of(request, names):
        try:
            descriptor = os.open(place.path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            if place.needed:
                raise
            continue
        try:
            identity = identity_of(descriptor)
            if identity != place.known:
                real = real_path(place.path, descriptor)
                for judge, concerns in judges:
                    if concerns(place):
                        judge.look(place, real, identity)
            if rules:
                rules.allow(descriptor, place.rights, directory=identity[2])
        finally:
            os.close(descriptor)
    return rules


def _judges(request: WorkerRequest, names: tuple[str, ...]) -> list[tuple[Judge, Callable[[Place], bool]]]:
    """Who looks at paths, and at which."""
    judges: list[tuple[Judge, Callable[[Place], bool]]] = [
        (Judge(names, "what no worker may read"), lambda _: True)
    ]
    if request.sandbox.level == "strict":
        people = Judge(homes(os.geteuid()), "people's files, which strict keeps")
        judges.append((people, lambda place: place.granted))
    if request.sandbox.write:
        node = Judge(run_by_the_node(), "what the node itself runs, and cannot be written")
        judges.append((node, lambda place: place.granted and bool(place.rights & landlock.WRITE_FILE)))
    return judges


def _wish(request: WorkerRequest, node_user: int, *, scoped: bool, counted: bool) -> Wish:
    sandbox = request.sandbox
    forks = request.limits.processes > 1 or "processes" in sandbox.without
    contained = forks and (scoped or request.pid_namespace)
    return Wish(
        level=sandbox.level,
        forks=forks,
        network=sandbox.network == "allow" or "network" in sandbox.without,
        memory_files=counted,
        self_only=sandbox.level != "none" and "signals" not in sandbox.without and not contained,
        programs=isinstance(request.entry, CommandEntry),
        shares_user=request.user is None or request.user[0] == node_user,
    )


def _filter(wish: Wish) -> bool:
    """Put the seccomp filter in force. False where there is none for this machine, or the kernel refuses."""
    try:
        program, header = _program(wish)
    except ValueError:
        return False
    try:
        libc.syscall(libc.SYS_SECCOMP, _SECCOMP_SET_MODE_FILTER, 0, libc.address(header))
    except OSError:
        return False
    return len(program) > 0


def _program(wish: Wish) -> tuple[bytearray, bytes]:
    """The filter and what points to it; the one must outlive the use of the other."""
    program = filter_for(wish).of(os.getpid())
    return program, struct.pack("=H6xQ", len(program) // 8, libc.address(program))
