"""Templates that outlive a test, for tests that are not about templates: each takes a quarter of a second to start."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from web4.extensions.processes import templates
from web4.extensions.processes.template import Template

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence


class Sharing:
    """Keeps templates that nobody uses; stands in for `open_template`."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, ...], Template] = {}

    @asynccontextmanager
    async def open_template(self, preload: Sequence[str], serve: str) -> AsyncIterator[Template]:
        key = (serve, *preload)
        template = self._idle.pop(key, None)
        try:
            if template is None:
                template = Template(preload, serve)
                await template.prepare()
            yield template
        finally:
            if template is not None:
                with trio.CancelScope(shield=True):
                    await self._put(key, template)

    async def _put(self, key: tuple[str, ...], template: Template) -> None:
        with trio.move_on_after(0) as scope:
            await template.wait()
        if scope.cancelled_caught and key not in self._idle and template.prepared is not None:
            self._idle[key] = template
            return
        await _end(template)

    async def close(self) -> None:
        """End those that are left."""
        while self._idle:
            await _end(self._idle.popitem()[1])


async def _end(template: Template) -> None:
    template.kill()
    await template.wait()
    template.close()


@pytest.fixture(scope="module", autouse=True)
def shared_templates() -> Iterator[None]:
    """One template for a module's tests, where they ask for the same."""
    sharing = Sharing()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "open_template", sharing.open_template)
        yield
        trio.run(sharing.close)
