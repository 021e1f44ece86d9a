"""Options that are the same everywhere (UX-2)."""

# Annotations are read at run time: types become help.

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token


def named_path(_: Any, tokens: Sequence[Token]) -> Path:
    """A path that has a name: of an empty one, as an unset variable of a shell makes it, `Path` makes this directory.

    Raises:
        ValueError: It is empty.
    """
    if not tokens[0].value:
        raise ValueError("it is empty: a path has a name")
    return Path(tokens[0].value)


Directory = Annotated[
    Path | None,
    Parameter(
        name="DIR",
        help="The journal's directory, or a node's data directory that holds `journal/`. Left out, the one of "
        "`--data`.",
    ),
]
Lanes = Annotated[
    tuple[str, ...],
    Parameter(
        name="--lane",
        negative=(),
        consume_multiple=False,
        help="Only this lane. May be given more than once.",
    ),
]
OneLane = Annotated[str | None, Parameter(name="--lane", help="Only this lane.")]
Key = Annotated[
    Path | None,
    Parameter(name="--key", help="The node's key file, a PKCS#8 PEM document of mode 0600. It signs."),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What every verb takes."""

    json: Annotated[bool, Parameter(name="--json", negative=(), help="Standard output holds JSON only.")] = (
        False
    )
    quiet: Annotated[
        bool, Parameter(name=("--quiet", "-q"), negative=(), help="No progress, no notices.")
    ] = False
    data: Annotated[
        Path | None,
        Parameter(
            name="--data",
            converter=named_path,
            help="The node's data directory. Left out: $WEB4_HOME, $XDG_DATA_HOME/web4, or ~/.local/share/web4.",
        ),
    ] = None
    config: Annotated[
        Path | None,
        Parameter(
            name="--config",
            converter=named_path,
            help="The configuration, where one is read. Left out: $WEB4_CONFIG, `./web4.toml`, or `web4.toml` of the "
            "data directory.",
        ),
    ] = None


COMMON = Common()
