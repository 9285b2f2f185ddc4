"""A service's start: the garbage collector waits, and is there again when all is loaded."""

import subprocess
import sys
from pathlib import Path

from talweg import startup

SERVICES = Path(startup.__file__).parent


def collector(script: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_collector_waits_while_a_service_loads_and_works_from_then_on() -> None:
    script = (
        "import gc; from talweg import startup; startup.begin(); print(gc.isenabled()); startup.loaded(); "
        "print(gc.isenabled(), gc.get_freeze_count() > 1000)"
    )
    assert collector(script).split() == ["False", "True", "True"]


def test_every_service_that_begins_without_it_says_when_it_is_loaded() -> None:
    begins = {path for path in SERVICES.rglob("*.py") if "startup.begin()" in path.read_text()}
    ends = {path for path in SERVICES.rglob("*.py") if "startup.loaded()" in path.read_text()}
    server = SERVICES / "api" / "server.py"
    assert {server if path == server.with_name("__main__.py") else path for path in begins} == ends
    # And begins only as a process of its own: who imports it keeps its collector.
    assert all('if __name__ == "__main__":\n    startup.begin()\n' in path.read_text() for path in begins)
