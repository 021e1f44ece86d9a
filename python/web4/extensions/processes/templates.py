"""Keeping a template alive, and doing without one meanwhile (EXT-35, EXT-36)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from web4.extensions.processes.template import TemplateGone, open_template

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from web4.extensions.processes.template import Template
    from web4.foundation.events import Emitter
    from web4.worker.template import Prepared

FIRST_PAUSE: Final = 0.1
"""Seconds before a template that died is started anew; doubled each time, up to `LONGEST_PAUSE`."""
LONGEST_PAUSE: Final = 10.0
_STEADY: Final = 30.0
"""Seconds that a template has to live for its successor to be started after the first pause again."""
_COLD_STARTS: Final = 2
"""Cold starts at a time: each executes and imports what a template has ready."""


class Templates:
    """At most one template at a time. `keep` runs in a nursery of the owner.

    Args:
        preload: Modules for it to import.
        serve: `module:function` that runs a Python extension.
        emit: Told of its comings and goings.
    """

    def __init__(self, preload: Sequence[str], serve: str, emit: Emitter) -> None:
        self._preload = preload
        self._serve = serve
        self._emit = emit
        self._cold = trio.CapacityLimiter(_COLD_STARTS)
        self.current: Template | None = None
        """The template that forks now."""
        self.prepared: Prepared | None = None
        """What the last one that came up found."""
        self.cold_starts = 0
        """Workers that were forked from a template of their own."""

    async def keep(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start a template, and another when it dies, until cancelled. Started once the first is up, or is not."""
        pause = FIRST_PAUSE
        while True:
            since = trio.current_time()
            try:
                async with open_template(self._preload, self._serve) as template:
                    self._up(template)
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                    status = await template.wait()
                    self.current = None
                reason = f"exit status {status}" if status >= 0 else f"signal {-status}"
            except (TemplateGone, OSError) as error:
                reason = str(error)
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
            finally:
                self.current = None
            if trio.current_time() - since > _STEADY:
                pause = FIRST_PAUSE
            self._emit(
                "worker_template_exited", severity="warning", reason=reason, pause_ms=round(pause * 1e3)
            )
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    @asynccontextmanager
    async def use(self, *, cold: bool = False) -> AsyncIterator[tuple[Template, bool]]:
        """A template to fork from, and whether it is warm: without one, or if told so, a cold one of the caller's own.

        Raises:
            TemplateGone: There is none.
        """
        current = self.current
        if current is not None and not cold:
            try:
                yield current, True
            except TemplateGone:
                if self.current is current:  # `keep` is about to notice; nobody else shall try it meanwhile
                    self.current = None
                raise
            return
        async with self._cold:
            self.cold_starts += 1
            try:
                async with open_template((), self._serve) as template:
                    self.prepared = self.prepared or template.prepared
                    yield template, False
            except OSError as error:
                raise TemplateGone(str(error)) from None

    def _up(self, template: Template) -> None:
        assert template.prepared is not None
        self.current, self.prepared = template, template.prepared
        failed = template.prepared.failed
        self._emit(
            "worker_template_started",
            severity="warning" if failed else "info",
            pid=template.pid,
            failed=failed,
        )
