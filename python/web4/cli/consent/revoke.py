"""`web4 consent revoke`."""

from web4.cli.consent.rows import HumanWord, act
from web4.cli.options import COMMON, Common


def revoke(human: HumanWord, /, *, common: Common = COMMON) -> int:
    """Take all consent back. What runs for the human is cancelled at once, what waits to be sent is dropped.

    It says how much that was. Needs the node to run: exit code 3. While it is down nothing runs and nothing is sent.

    ```
    web4 consent revoke grace
    ```
    """
    return act(common, "revoke", human)
