"""`web4 consent grant`."""

from web4.cli.consent.rows import CalledName, HumanWord, New, Role, act
from web4.cli.options import COMMON, Common


def grant(
    human: HumanWord,
    /,
    *,
    new: New = False,
    name: CalledName = None,
    role: Role = None,
    common: Common = COMMON,
) -> int:
    """Consent to every topic. Said again, it is fresh again: after ten minutes it counts as limited.

    ```
    web4 consent grant grace
    web4 consent grant grace --new --name Grace --role owner
    ```
    """
    return act(common, "grant", human, new=new, name=name, role=role)
