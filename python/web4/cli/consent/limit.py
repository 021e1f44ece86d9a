"""`web4 consent limit`."""

from typing import Annotated

from cyclopts import Parameter

from web4.cli.consent.rows import CalledName, HumanWord, New, Role, act
from web4.cli.options import COMMON, Common


def limit(
    human: HumanWord,
    topic: Annotated[
        tuple[str, ...],
        Parameter(
            name="TOPIC", help="`garden` covers `garden` and all below it, as `garden/fence`; `*` covers all."
        ),
    ],
    /,
    *,
    new: New = False,
    name: CalledName = None,
    role: Role = None,
    common: Common = COMMON,
) -> int:
    """Consent to these topics, and to nothing else.

    ```
    web4 consent limit grace garden work/reviews
    ```
    """
    return act(common, "limit", human, scope=topic, new=new, name=name, role=role)
