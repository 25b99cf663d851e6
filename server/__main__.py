"""`python -m server` is the command line, `tablecast`."""

from __future__ import annotations

import sys

from server.command import main

if __name__ == "__main__":
    sys.exit(main())
