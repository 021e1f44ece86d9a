"""`web4 ext ls`."""

from web4.cli.extensions.places import WHERE, Where, surroundings
from web4.cli.extensions.standing import rows
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import paint, table, visible


def ls(*, where: Where = WHERE, common: Common = COMMON) -> int:
    """List the extensions that are found: where, which version, and how each stands.

    Searched are the paths of `web4.toml`, `.web4/extensions` of the project, `extensions` of the data directory, and
    installed packages. Manifests are read and files are compared with what was enabled; nothing is started.

    ```
    web4 ext ls
    web4 ext ls --project ./site --json
    ```
    """

    async def body(_: Output) -> Answer:
        around = surroundings(common, where)
        found = await rows(around)
        data = {"extensions": [one.document() for one in found]}
        if not found:
            return Answer(data, ["no extension is found; `web4 ext new NAME` writes one"])
        shown = [
            [
                one.name,
                one.version or "",
                one.state.replace("_", " "),
                one.found.place if one.found else "",
                one.directory or "",
            ]
            for one in found
        ]
        lines = table([["name", "version", "state", "place", "directory"], *shown])
        for one in found:
            if one.why is not None:
                lines.append(f"{paint(visible(one.name), 'yellow')}: {visible(one.why)}")
        return Answer(data, lines)

    return perform(common, body)
