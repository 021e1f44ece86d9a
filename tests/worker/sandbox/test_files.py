"""What a worker reads and writes, and every way around it (section 8, EXT-31)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.worker.sandbox import attacks
from tests.worker.sandbox.inside import asked, run
from web4.worker.request import CommandEntry

if TYPE_CHECKING:
    from web4.worker.request import Level, WorkerRequest

SANDBOXES = pytest.mark.parametrize("level", ["standard", "strict"])


class Node(NamedTuple):
    """A node's data beside what one of its workers is given."""

    root: Path
    data: Path
    key: str
    journal: str
    granted: Path
    tmp: str

    def request(
        self, level: Level, *, read: Path | str = "", write: Path | str = "", hidden: Path | str = ""
    ) -> WorkerRequest:
        return asked(
            self.root,
            level=level,
            read=(str(read or self.granted),),
            write=(str(write),) if write else (),
            hidden=(str(hidden or self.data),),
        )


@pytest.fixture
def node(tmp_path: Path) -> Node:
    data, granted = tmp_path / "data", tmp_path / "granted"
    for path in (data / "keys", granted):
        path.mkdir(parents=True)
    key, journal = data / "keys" / "node.key", data / "journal.sqlite"
    key.write_text("secret")
    journal.write_text("history")
    (granted / "note").write_text("a note")
    (granted / "way").symlink_to(data)
    return Node(tmp_path, data, str(key), str(journal), granted, str(tmp_path / "tmp"))


@SANDBOXES
def test_reads_and_writes_what_it_is_given(node: Node, level: Level) -> None:
    """Section 8: the system, its own directory, `tmp`, what is granted."""
    written = node.root / "written"
    written.mkdir()
    ran = run(
        node.request(level, write=written),
        (attacks.read, str(node.granted / "note")),
        (attacks.create_and_remove, f"{node.tmp}/new"),
        (attacks.create_and_remove, str(written / "new")),
        (attacks.read, "/proc/self/statm"),
        (attacks.write, "/dev/null"),
        (len, "listed"),
        (attacks.write, str(node.granted / "note")),
        (attacks.create_and_remove, str(node.granted / "new")),
        (attacks.create_and_remove, str(node.root / "extension" / "new")),
    )
    assert ran.outcomes[0] == "a note"
    assert ran.outcomes[1:3] == [None, None]
    assert ran.outcomes[3].split()[0].isdigit()
    assert ran.outcomes[4] is None
    assert ran.outcomes[6:] == ["EACCES"] * 3


@SANDBOXES
def test_no_way_to_the_nodes_files(node: Node, level: Level) -> None:
    """EXT-31: straight, by detour, through a descriptor, by another name."""
    deep = f"{node.granted}/../data/keys/node.key"
    ran = run(
        node.request(level),
        (attacks.read, node.key),
        (attacks.read, node.journal),
        (attacks.read, deep),
        (attacks.read, f"{node.granted}/way/keys/node.key"),
        (attacks.read, f"/proc/self/root{node.key}"),
        (attacks.read, "/proc/self/cwd/../data/keys/node.key"),
        (attacks.read, f"/proc/{os.getpid()}/root{node.key}"),
        (attacks.read_through_path_descriptor, node.key),
        (attacks.read_from_directory_descriptor, str(node.data), "keys/node.key"),
        (attacks.read_after_chdir, str(node.data), "journal.sqlite"),
        (attacks.read_through_symlink, node.tmp, node.key),
        (attacks.read_through_hard_link, node.tmp, node.key),
        (attacks.move, node.key, f"{node.tmp}/key"),
        (attacks.move, str(node.data), f"{node.tmp}/data"),
        (attacks.exchange, node.key, f"{node.tmp}/link"),
        (attacks.open_by_handle, node.key),
        (attacks.watch, str(node.data)),
        (os.listdir, str(node.data)),
        (os.listdir, str(node.root)),
        (os.listdir, "/"),
    )
    allowed = {"EACCES", "EPERM", "EXDEV"}
    assert set(ran.outcomes) <= allowed, list(enumerate(ran.outcomes))
    assert Path(node.key).read_text() == "secret"


@SANDBOXES
def test_no_change_to_the_nodes_files(node: Node, level: Level) -> None:
    """Landlock does not cover modes, owners and attributes: a worker of the node's user must not change them."""
    before = [Path(one).stat() for one in (node.key, node.journal, str(node.data))]
    ran = run(
        node.request(level),
        (attacks.write, node.key),
        (attacks.truncate, node.key),
        (attacks.empty_while_reading, str(node.granted / "note")),
        (os.unlink, node.key),
        (os.rmdir, str(node.data / "keys")),
        (attacks.create_and_remove, str(node.data / "new")),
        (attacks.move, f"{node.tmp}", str(node.data / "tmp")),
        (attacks.change_mode, node.key),
        (attacks.change_mode, str(node.data)),
        (attacks.change_mode_of_open, str(node.granted / "note")),
        (attacks.change_owner, node.key),
        (attacks.set_attribute, node.key),
        (attacks.make_device, f"{node.tmp}/mem"),
        (attacks.write, "/proc/sys/kernel/core_pattern"),
        (attacks.write, "/proc/self/oom_score_adj"),
        (attacks.write, "/sys/fs/cgroup/cgroup.procs"),
        (attacks.write, "/dev/shm/left"),
        (attacks.write, "/tmp/left"),
    )
    allowed = {"EACCES", "EPERM", "EXDEV", "ENOENT"}
    assert set(ran.outcomes) <= allowed, list(enumerate(ran.outcomes))
    after = [Path(one).stat() for one in (node.key, node.journal, str(node.data))]
    assert [(one.st_mode, one.st_uid, one.st_size, one.st_mtime_ns) for one in before] == [
        (one.st_mode, one.st_uid, one.st_size, one.st_mtime_ns) for one in after
    ]
    assert (node.granted / "note").read_text() == "a note"


@SANDBOXES
def test_nothing_of_accounts_and_of_other_processes(node: Node, level: Level) -> None:
    """The node's environment, memory and descriptors lie in `/proc`."""
    here = os.getpid()
    files = [
        "/etc/passwd",
        "/etc/shadow",
        "/etc/hosts",
        "/etc/machine-id",
        "/etc/ssh/sshd_config",
        "/dev/tty",
    ]
    files += [
        f"/proc/{pid}/{name}" for pid in (here, 1) for name in ("environ", "mem", "maps", "cmdline", "status")
    ]
    ran = run(node.request(level), *[(attacks.read, one) for one in files], (os.listdir, "/proc"))
    assert set(ran.outcomes) <= {"EACCES", "EPERM", "ENOENT", "ENXIO"}, list(
        zip(files, ran.outcomes, strict=False)
    )


@SANDBOXES
def test_what_landlock_does_not_stop(node: Node, level: Level) -> None:
    """The guide says so: whether a file is there, its size and times, and to be in a directory."""
    ran = run(
        node.request(level),
        (os.path.getsize, node.key),
        (os.chdir, str(node.data)),
        (os.access, node.key, os.R_OK),
        (os.readlink, str(node.granted / "way")),
        (os.utime, node.journal),
    )
    assert ran.outcomes == [6, None, True, str(node.data), None]


def test_a_grant_that_reaches_what_is_hidden_refuses_the_start(node: Node) -> None:
    """EXT-31: above it, in it, it; by name and through links."""
    link = node.root / "link"
    link.symlink_to(node.data / "keys")
    grants = (node.root, node.data, node.data / "keys", Path(node.key), link, node.granted / "way", Path("/"))
    for number, grant in enumerate(grants):
        level: Level = "standard" if number % 3 else "strict"
        asking = node.request(level, write=grant) if number % 2 else node.request(level, read=grant)
        assert "what no worker may read" in run(asking).refusal, grant


def test_a_system_path_that_reaches_what_is_hidden_refuses_the_start(node: Node) -> None:
    """EXT-31: a data directory in `/usr` cannot be hidden from anybody."""
    hidden = "/usr/share/web4"
    for asking in (node.request("standard", hidden=hidden), node.request("strict", hidden=hidden)):
        assert "/usr covers what no worker may read" in run(asking).refusal
    assert run(node.request("none", hidden=hidden)).protections.landlock == 0


def test_its_own_directory_may_lie_in_the_nodes_data(node: Node) -> None:
    """EXT-6 keeps extensions there; but it may not be above what is hidden."""
    inner = node.data / "extensions"
    inner.mkdir()
    ran = run(
        asked(inner, hidden=(str(node.data),)),
        (attacks.read, node.key),
        (os.listdir, str(inner / "extension")),
        (os.listdir, str(inner)),
    )
    assert ran.outcomes == ["EACCES", [], "EACCES"]
    above = run(asked(node.root, hidden=(str(node.root / "extension" / "key"),)))
    assert "extension covers what no worker may read" in above.refusal


def test_nobody_writes_what_the_node_runs(node: Node) -> None:
    """Who may write a module of the node's is the node, when it starts the next time. Reading it is fine."""
    for grant in (sys.prefix, sys.base_prefix, "/usr/local/lib", str(Path(sys.prefix).parent)):
        assert (
            "what the node itself runs"
            in run(node.request("standard", write=grant, hidden="/absent")).refusal
        )
    assert run(node.request("standard", read=sys.prefix)).protections.missing == ()


def test_a_grant_that_is_not_there_is_told(node: Node) -> None:
    refusal = run(node.request("standard", read=node.root / "absent")).refusal
    assert refusal.startswith("extension_start_failed: FileNotFoundError")
    assert "absent" in refusal
    assert "not absolute" in run(node.request("standard", read="relative")).refusal


def test_strict_grants_nothing_of_people(node: Node, tmp_path: Path) -> None:
    """Section 8: "as standard, no home"."""
    home = Path.home()
    for grant in (str(home), str(home.parent) if home.parent != Path("/") else str(home)):
        ran = run(asked(tmp_path, level="strict", read=(grant,)))
        assert "people's files" in ran.refusal


def test_another_mount_of_what_is_hidden_is_found(node: Node) -> None:
    """EXT-31: by identity, not by name. Made in a mount namespace of its own, where this machine allows it."""
    program = "import os, sys; from tests.worker.sandbox.test_files import mounted; mounted(sys.argv[1], sys.argv[2])"
    unshare = shutil.which("unshare")
    assert unshare, "util-linux is part of every system this runs on"
    flags = ["--mount"] if os.getuid() == 0 else ["--mount", "--map-root-user"]
    done = subprocess.run(
        [unshare, *flags, sys.executable, "-c", program, str(node.root), str(node.data)],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare failed" in done.stderr:
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()}")
    assert "by another name of it" in done.stdout, done
    assert "covers what no worker may read" in done.stdout, done


def mounted(root: str, data: str) -> None:
    """In the mount namespace: the hidden directory, and the one above it, have a second name each."""
    for source, name in ((data, "again"), (root, "above")):
        target = Path(root).parent / f"{Path(root).name}-{name}"
        target.mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", source, target], check=True)
        grant = str(target / "keys") if name == "again" else str(target)
        print(run(asked(Path(root), read=(grant,), hidden=(data,))).report)


# --- programs -------------------------------------------------------------------------------------------------


def test_standard_executes_what_it_may_read(node: Node) -> None:
    """Section 8: within readable paths."""
    script = node.root / "elsewhere.sh"
    script.write_text("#!/bin/sh\necho ran\n")
    script.chmod(0o755)
    inside = node.granted / "script.sh"
    shutil.copy(script, inside)
    request = asked(node.root, read=(str(node.granted),), processes=8)
    ran = run(
        request,
        (attacks.output_of, str(inside)),
        (attacks.output_of, "/bin/echo", "hello"),
        (attacks.output_of, str(script)),
        (attacks.output_of, "/bin/sh", "-c", f"{script} 2>/dev/null; echo $?"),
    )
    assert ran.outcomes[:3] == ["ran", "hello", "EACCES"]
    assert ran.outcomes[3] == "126"


def test_a_python_worker_of_strict_executes_nothing(node: Node) -> None:
    """Section 8: the entry program only, and here it runs already."""
    ran = run(node.request("strict"), (attacks.execute, "/bin/true"), (attacks.execute_memory, "/bin/true"))
    assert ran.outcomes == ["EPERM", "ENOSYS"]


def command(node: Node, text: str, name: str = "entry.sh") -> CommandEntry:
    program = node.root / "extension" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(text)
    program.chmod(0o755)
    return CommandEntry((name,))


def test_strict_executes_the_entry_program_and_what_it_needs(node: Node) -> None:
    """Section 8: the script, the shell its first line names, the loader of that; no other program."""
    entry = command(node, '#!/bin/sh\nread x < /proc/self/comm; echo "\\"$x\\""; exec /bin/cat /dev/null\n')
    request = asked(node.root, level="strict", entry=entry)
    ran = run(request, (attacks.execute, str(node.root / "extension" / "entry.sh")))
    assert ran.protections.seccomp == "allow_list"
    assert ran.outcomes == ["entry.sh"]
    assert ran.status == 126, "the shell's word for a program it may not execute"
    other = run(request, (attacks.execute, "/bin/cat", "/dev/null"))
    assert other.outcome == "EACCES"
    assert run(request, (attacks.execute_memory, "/bin/true")).outcome == "ENOSYS"


def test_strict_does_not_go_through_env(node: Node) -> None:
    """`env` runs whatever it is told: it cannot be the only program."""
    entry = command(node, "#!/usr/bin/env python3\n")
    assert "not env" in run(asked(node.root, level="strict", entry=entry)).refusal
    assert run(asked(node.root, entry=entry)).protections.level == "standard"


def test_a_program_of_this_interpreter_runs_in_strict(node: Node) -> None:
    """An ELF file outside the system's directories, with its loader."""
    entry = CommandEntry((sys.executable,))
    ran = run(
        asked(node.root, level="strict", entry=entry),
        (attacks.execute, sys.executable, "-I", "-S", "-c", "import sys; sys.exit(7)"),
    )
    assert ran.status == 7, ran
