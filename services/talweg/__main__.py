"""The command line, where `talweg` is not on the PATH: `python -m talweg`."""

from talweg.cli import main

main()
