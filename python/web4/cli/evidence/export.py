"""`web4 evidence export`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from web4.cli.node.reaching import directory_of, running
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import size, visible


def export(
    out: Annotated[Path, Parameter(name="OUT", help="The file that is written, such as `evidence.warc.gz`.")],
    digest: Annotated[
        tuple[str, ...],
        Parameter(
            name="DIGEST", help="Bodies, as `web4 evidence show` has them. Left out: the last 1000 fetches."
        ),
    ] = (),
    /,
    *,
    common: Common = COMMON,
) -> int:
    """Write what was fetched as a WARC file, with the record of how it came here beside each body.

    The file is written whole or not at all, for your eyes only (0600), and never over another: exit code 7. Works
    beside a running node, and without.

    ```
    web4 evidence export ./evidence.warc.gz
    web4 evidence export ./one.warc.gz 77aa01cd
    ```
    """

    async def body(_: Output) -> Answer:
        path = out.absolute()
        async with running(common) as control:
            if control is not None:
                data = await control.ask("evidence_export", {"path": str(path), "digests": digest})
            else:
                data = await _at_rest(common, path, digest)
        return Answer(data, [f"{data['fetches']} fetches, {size(data['bytes'])}, in {visible(data['file'])}"])

    return perform(common, body)


async def _at_rest(common: Common, path: Path, digests: tuple[str, ...]) -> dict[str, object]:
    # Not paid for by a verb that finds its node running.
    from web4.cli.configuration import config_file  # noqa: PLC0415
    from web4.doors.views.at_rest import open_at_rest  # noqa: PLC0415
    from web4.doors.views.evidence import export_evidence  # noqa: PLC0415

    async with open_at_rest(directory_of(common), config_file(common)) as reading:
        return dict(await export_evidence(reading, path, digests))
