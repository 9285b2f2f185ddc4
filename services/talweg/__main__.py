"""The command line as `python -m talweg`, for a shell without `talweg` on its PATH."""

from talweg.cli import main

main()
