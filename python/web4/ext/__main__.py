"""`python -m web4.ext MODULE:OBJECT [DIRECTORY]`: a worker of a Python extension in a process of its own.

It speaks on the socket whose number stands in `WEB4_WORKER_FD`, as any program does (EXT-14).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from web4.ext.serving import serve


def main(arguments: list[str]) -> None:
    """Serve the extension that the arguments name."""
    if not 1 <= len(arguments) <= 2 or ":" not in arguments[0]:
        raise SystemExit(__doc__)
    try:
        descriptor = int(os.environ["WEB4_WORKER_FD"])
    except (KeyError, ValueError):
        raise SystemExit("WEB4_WORKER_FD names no descriptor: a node starts this program") from None
    module, _, name = arguments[0].partition(":")
    directory = Path(arguments[1] if len(arguments) > 1 else ".").resolve()
    serve(descriptor, module, name, str(directory))


if __name__ == "__main__":
    main(sys.argv[1:])
