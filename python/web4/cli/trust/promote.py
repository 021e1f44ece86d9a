"""`web4 trust promote`."""

from web4.cli.node.reaching import As, PeerWord, Reason
from web4.cli.options import COMMON, Common
from web4.cli.trust.acting import act


def promote(peer: PeerWord, /, *, reason: Reason, human: As = None, common: Common = COMMON) -> int:
    """Raise a peer by one step: to probing, or from there to trusted.

    Needs the node to run; name and reason are recorded. Exit code 1: nothing changed.

    ```
    web4 trust promote bob --reason "vouched for by the team"
    web4 trust promote 3f1c09d2 --reason "vouched for by the team" --as ada --json
    ```
    """
    return act(common, "trust_promote", peer, reason, human, None)
