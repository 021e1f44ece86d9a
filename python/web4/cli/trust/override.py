"""`web4 trust override`."""

from web4.cli.node.reaching import As, PeerWord, Reason
from web4.cli.options import COMMON, Common
from web4.cli.trust.acting import act


def override(peer: PeerWord, /, *, reason: Reason, human: As = None, common: Common = COMMON) -> int:
    """Take a peer off the blacklist, to probing; its key counts again.

    Needs the node to run; name and reason are recorded. Exit code 1: it was not blacklisted.

    ```
    web4 trust override mallory --reason "the key is safe, it was a mistake"
    web4 trust override 3f1c09d2 --reason "the key is safe, it was a mistake" --as ada --json
    ```
    """
    return act(common, "trust_override", peer, reason, human, None)
