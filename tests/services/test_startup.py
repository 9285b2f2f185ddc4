"""The garbage collector is off during the start of a service, and on afterwards."""

import subprocess
import sys
from pathlib import Path

from talweg import startup

SERVICES = Path(startup.__file__).parent


def collector(script: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_garbage_collector_is_off_while_a_service_starts() -> None:
    script = (
        "import gc; from talweg import startup; startup.begin(); print(gc.isenabled()); startup.loaded(); "
        "print(gc.isenabled(), gc.get_freeze_count() > 1000)"
    )
    assert collector(script).split() == ["False", "True", "True"]


def test_every_service_that_disables_the_collector_enables_it_again() -> None:
    begins = {path for path in SERVICES.rglob("*.py") if "startup.begin()" in path.read_text()}
    ends = {path for path in SERVICES.rglob("*.py") if "startup.loaded()" in path.read_text()}
    server = SERVICES / "api" / "server.py"
    assert {server if path == server.with_name("__main__.py") else path for path in begins} == ends
    # And begins only as a process of its own: who imports it keeps its collector.
    assert all('if __name__ == "__main__":\n    startup.begin()\n' in path.read_text() for path in begins)
