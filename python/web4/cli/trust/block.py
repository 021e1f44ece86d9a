"""`web4 trust block`."""

from web4.cli.node.reaching import As, PeerWord, Reason
from web4.cli.options import COMMON, Common
from web4.cli.trust.acting import act


def block(peer: PeerWord, /, *, reason: Reason, human: As = None, common: Common = COMMON) -> int:
    """Blacklist a peer and revoke its key: nothing it signed counts any more.

    Its sessions end at once. Needs the node to run; name and reason are recorded. `web4 trust override` takes it back.

    ```
    web4 trust block mallory --reason "its key was stolen"
    web4 trust block 3f1c09d2 --reason "its key was stolen" --as ada --json
    ```
    """
    return act(common, "trust_block", peer, reason, human, "blacklisted")
