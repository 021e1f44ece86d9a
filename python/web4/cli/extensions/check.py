"""`web4 ext check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import trio
from cyclopts import Parameter

from web4.cli import exits
from web4.cli.extensions.declared import differences, entries_of, write_declared
from web4.cli.extensions.dry_run import Started, declared, started
from web4.cli.extensions.manifest_problems import Looked, look_at
from web4.cli.extensions.places import WHERE, Surroundings, Where, surroundings
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import facts, paint, visible
from web4.extensions.enabling.asking import asks_for
from web4.extensions.errors import ManifestError, TreeError
from web4.extensions.manifests.ceilings import check_ceilings
from web4.extensions.manifests.grants import check_grants
from web4.extensions.manifests.manifest_file import manifest_path, parse_document, read_bytes
from web4.extensions.places.digest import tree_digest
from web4.extensions.processes import open_processes
from web4.worker.request import PythonEntry

if TYPE_CHECKING:
    from web4.extensions.manifests.manifest import Manifest
    from web4.extensions.processes import Processes

_LONG_S: Final = 2.0


def check(
    directory: Annotated[
        Path, Parameter(name="DIR", help="The extension's directory: it holds the manifest.")
    ],
    /,
    *,
    write: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Put what the code declares into the manifest: tools, hooks, schemas, and so on.",
        ),
    ] = False,
    where: Where = WHERE,
    common: Common = COMMON,
) -> int:
    """Validate a directory, start what is in it once, and say all that is wrong.

    The manifest is read, the ceilings and grants of this node are held against it, and the code is started in a real
    worker with the limits and the sandbox it asks for: what it declares must be what the manifest says. So it runs the
    code, though no tool of it; nothing is enabled.

    Exit code 0: nothing is wrong. 1: findings.

    ```
    web4 ext check ./notes
    web4 ext check ./notes --write
    ```
    """

    async def body(output: Output) -> Answer:
        around = surroundings(common, where)
        async with open_processes() as processes, trio.open_nursery() as nursery:
            nursery.start_soon(_say_that_it_takes_long, output)
            answer = await _Check(around, processes, directory).run(write=write)
            nursery.cancel_scope.cancel()
        return answer

    return perform(common, body)


async def _say_that_it_takes_long(output: Output) -> None:
    await trio.sleep(_LONG_S)
    output.notice("waiting for its worker, which is killed when `timeouts.startup_ms` is over")


class Finding(NamedTuple):
    """Something that is wrong: where, dotted, and what."""

    where: str
    text: str


class _Check:
    """One directory under examination."""

    def __init__(self, around: Surroundings, processes: "Processes", directory: Path) -> None:
        self._around = around
        self._processes = processes
        self._directory = directory.resolve()
        self._findings: list[Finding] = []
        self._trace: list[str] = []
        self._written = False
        self._differs = False

    async def run(self, *, write: bool) -> Answer:
        """Look at everything; what was found."""
        looked = await self._look()
        manifest = looked.manifest
        if manifest is not None:
            if not looked.harmed("sandbox", "resources", "timeouts"):
                self._hold(manifest)
            if not looked.harmed("entry") and isinstance(manifest.entry, PythonEntry):
                await self._compare(manifest, write=write)
        if self._written:
            looked = await self._look()
        digest = await self._digest()
        run: Started | None = None
        if looked.manifest is not None and not looked.problems and not self._findings:
            run = await started(self._processes, self._around, looked.manifest, str(self._directory))
            if run.problem is not None:
                self._found("start", run.problem)
                self._trace += run.said
        problems = [Finding(one.field or "manifest", str(one.args[0])) for one in looked.problems]
        return self._answer(looked, [*problems, *self._findings], digest, run)

    async def _look(self) -> Looked:
        return await trio.to_thread.run_sync(look_at, self._directory, abandon_on_cancel=True)

    async def _compare(self, manifest: "Manifest", *, write: bool) -> None:
        """Hold what the code declares against the manifest, or write it there."""
        said = await declared(self._processes, self._around, manifest, str(self._directory))
        self._trace = said.traceback
        for problem in said.problems:
            self._found("code", problem)
        if said.name is None:
            return
        path = manifest_path(self._directory)
        document = parse_document(await trio.to_thread.run_sync(read_bytes, path), path)
        if said.name != document.get("name"):
            self._found("name", f"the code calls itself {said.name!r}, the manifest {document.get('name')!r}")
        differs = differences(document, said.parts)
        if write and differs and not said.problems:
            await trio.to_thread.run_sync(write_declared, path, said.parts)
            self._written = True
            return
        if not entries_of(said.parts) and not said.problems:
            self._found("code", "it declares no tool, no hook, nothing")
        self._differs = bool(differs) and not said.problems
        for one in differs:
            self._found(one.where, one.text)

    async def _digest(self) -> str | None:
        try:
            return (
                await trio.to_thread.run_sync(tree_digest, self._directory, abandon_on_cancel=True)
            ).digest
        except TreeError as error:
            self._found("directory", str(error.args[0]))
            return None

    def _hold(self, manifest: "Manifest") -> None:
        """What this node would refuse."""
        for hold in (
            lambda: asks_for(manifest),
            lambda: check_ceilings(manifest, self._around.configuration.ceilings),
            lambda: check_grants(manifest, str(self._directory), self._around.paths),
        ):
            try:
                hold()
            except ManifestError as error:
                self._found(error.field or "manifest", str(error.args[0]))

    def _found(self, where: str, text: str) -> None:
        self._findings.append(Finding(where, text))

    def _answer(
        self, looked: Looked, findings: list[Finding], digest: str | None, run: Started | None
    ) -> Answer:
        manifest = looked.manifest if not looked.problems else None
        data: dict[str, Any] = {
            "clean": not findings,
            "directory": str(self._directory),
            "name": None if manifest is None else manifest.name,
            "version": None if manifest is None else manifest.version,
            "digest": digest,
            "findings": [{"where": one.where, "text": one.text} for one in findings],
            "traceback": self._trace,
            "written": self._written,
            "ready_ms": None if run is None else run.ready_ms,
            "missing": [] if run is None else list(run.missing),
        }
        lines = ["the manifest was written anew"] if self._written else []
        lines += [paint("finding", "red") + visible(f": {one.where}: {one.text}") for one in findings]
        lines += ["  " + visible(line) for line in self._trace]
        if findings:
            if self._differs:
                lines += ["", visible(f"`web4 ext check {self._directory} --write` makes the manifest say what the code does")]
            many = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
            return Answer(data, [*lines, paint(many, "red")], exits.NO)
        assert manifest is not None
        assert run is not None
        lines += facts(
            [
                ("extension", f"{manifest.name} {manifest.version}"),
                ("digest", digest),
                ("ready after", f"{run.ready_ms:.0f} ms"),
                ("missing here", ", ".join(run.missing) or None),
            ]
        )
        return Answer(data, [*lines, paint("nothing is wrong", "green")])
