"""The command line: `talweg`. Data goes to stdout, everything else to stderr; slow imports happen inside commands."""

import sys
from tomllib import TOMLDecodeError

from talweg.errors import TalwegError


def main() -> None:
    """Run one command; exits with 0, 1 (failed), 2 (wrong usage) or 130 (Ctrl-C)."""
    from talweg.cli.app import app
    from talweg.cli.output import prepare

    prepare()
    try:
        app()
    except TalwegError as error:
        _end(str(error), error.exit_code)
    except TOMLDecodeError as error:
        _end(f"talweg.toml or pyproject.toml: must be TOML: {error}", 2)
    except KeyboardInterrupt:
        sys.exit(130)


def _end(message: str, status: int) -> None:
    from talweg.cli.output import say

    say(f"talweg: error: {message}")
    sys.exit(status)
