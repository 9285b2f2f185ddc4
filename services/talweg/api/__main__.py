"""`python -m talweg.api`."""

import sys

from talweg import startup

if __name__ == "__main__":
    startup.begin()

from talweg.api.server import main

sys.exit(main())
