"""`python -m talweg.api`."""

import sys

from talweg.api.server import main

sys.exit(main())
