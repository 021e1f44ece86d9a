"""`python -m web4.cli`."""

import sys

from web4.cli import main

if __name__ == "__main__":
    sys.exit(main())
