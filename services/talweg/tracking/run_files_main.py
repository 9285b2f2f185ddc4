"""`python -m talweg.tracking.run_files_main`: makes runs' files for the mirror, which sends other things meanwhile."""

import json
import os
import signal
import sys
from typing import BinaryIO

from talweg import startup

if __name__ == "__main__":
    startup.begin()

from talweg.errors import TalwegError
from talweg.logs import configure
from talweg.settings import settings
from talweg.store import Store, open_store


def main() -> int:
    """Draw what is asked for, from the store at TALWEG_DATABASE_URL."""
    # Ctrl-C goes to all processes of a terminal; this one ends with the mirror.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    chosen = settings()
    configure(chosen.log_level)
    if chosen.database_url is None:
        raise TalwegError("drawing: TALWEG_DATABASE_URL must be set")
    # What a plug-in prints must not stand among the answers.
    with os.fdopen(os.dup(1), "wb") as answered, open_store(chosen.database_url.get_secret_value()) as store:
        os.dup2(2, 1)
        serve_drawings(store, sys.stdin.buffer, answered)
    return 0


def serve_drawings(store: Store, asked: BinaryIO, answered: BinaryIO) -> None:
    """Answer each line of `asked`."""
    from talweg.datasets.sources import serve
    from talweg.tracking.run_files import drawn

    startup.loaded()
    serve(store)
    for line in asked:
        question = json.loads(line)
        try:
            files = drawn(store, store.run(question["run"]), question["title"])
        except TalwegError as error:
            _say(answered, {"error": str(error), "code": error.code})
            continue
        _say(answered, {"files": {name: len(content) for name, content in files.items()}})
        for content in files.values():
            answered.write(content)
        answered.flush()


def _say(answered: BinaryIO, value: dict[str, object]) -> None:
    answered.write(json.dumps(value).encode() + b"\n")
    answered.flush()


if __name__ == "__main__":
    sys.exit(main())
