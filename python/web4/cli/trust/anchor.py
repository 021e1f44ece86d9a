"""`web4 trust anchor`."""

from web4.cli.node.reaching import As, PeerWord, Reason
from web4.cli.options import COMMON, Common
from web4.cli.trust.acting import act


def anchor(peer: PeerWord, /, *, reason: Reason, human: As = None, common: Common = COMMON) -> int:
    """Trust a peer from now on, on your word.

    It stays so until something speaks against the peer. Needs the node to run; name and reason are recorded.

    ```
    web4 trust anchor bob --reason "met in person, compared fingerprints"
    web4 trust anchor 3f1c09d2 --reason "met in person, compared fingerprints" --as ada --json
    ```
    """
    return act(common, "trust_anchor", peer, reason, human, "trusted")
