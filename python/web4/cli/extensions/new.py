"""`web4 ext new`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from web4.cli.extensions.scaffold import check_name, write_scaffold
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import visible


def new(
    name: Annotated[
        str, Parameter(help="What it is called: a letter of a-z, then up to 63 of a-z, 0-9, _, . and -.")
    ],
    directory: Annotated[
        Path | None,
        Parameter(
            name="DIR",
            help="What is made. Must not be there yet. Left out: `.web4/extensions/NAME`, where it is found.",
        ),
    ] = None,
    /,
    *,
    common: Common = COMMON,
) -> int:
    """Write a new extension: a manifest, one tool in Python, and a test that runs it in a real worker.

    ```
    web4 ext new notes
    web4 ext check .web4/extensions/notes
    ```
    """

    async def body(_: Output) -> Answer:
        check_name(name)
        target = directory or Path(".web4", "extensions", name)
        files = write_scaffold(name, target)
        lines = [visible(f"{target / one}") for one in files]
        after = [
            "",
            "Next:",
            visible(f"  web4 ext check {target}"),
            visible(f"  web4 ext enable {name}"),
            visible(f'  web4 ext call {name}.greet \'{{"who": "Ada"}}\''),
        ]
        return Answer({"name": name, "directory": str(target), "files": files}, [*lines, *after])

    return perform(common, body)
