"""`web4 journal backup`."""

from pathlib import Path

import trio

from web4.cli.journal.export import First, Second
from web4.cli.journal.target import journal_directory
from web4.cli.journal.verify import verify_store
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.progress import Step, progress
from web4.cli.running import Answer, perform
from web4.cli.text import facts
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.backends.sqlite.backup import Copy


def backup(directory: First, out: Second = None, /, *, common: Common = COMMON) -> int:
    """Copy a journal, beside its running node too, and verify the copy.

    The copy is a journal's directory of one committed state, with the hash key: keep it as close as the journal. A copy
    in which something is wrong is kept all the same, and the exit code is 1.

    ```
    web4 journal backup ./node ./backups/2026-11-21
    ```
    """

    async def body(output: Output) -> Answer:
        where, target = (directory, out) if out is not None else (None, directory)
        return await _back_up(journal_directory(where, common), target, output)

    return perform(common, body)


async def _back_up(where: Path, target: Path, output: Output) -> Answer:
    copy = await trio.to_thread.run_sync(Copy, where, target)
    try:
        with progress(output, "pages", None) as step:
            await _copy(copy, step)
        async with open_sqlite(copy.draft, read_only=True) as backend:
            report = await verify_store(backend, output)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(copy.publish)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(copy.discard)
    size = (target / "journal.db").stat().st_size
    data = {"backup": str(target), "bytes": size, "verified": report.data}
    return Answer(data, [*facts([("backup", target)]), *report.lines], report.exit)


async def _copy(copy: Copy, step: Step) -> None:
    """Copy on a thread, which ends soon after this is cancelled."""
    stopped = False

    def told(done: int, total: int) -> bool:
        step(done, total)
        return not stopped

    async with trio.open_nursery() as nursery:

        async def stop_when_cancelled() -> None:
            nonlocal stopped
            try:
                await trio.sleep_forever()
            finally:
                stopped = True

        nursery.start_soon(stop_when_cancelled)
        await trio.to_thread.run_sync(copy.run, told)
        nursery.cancel_scope.cancel()
