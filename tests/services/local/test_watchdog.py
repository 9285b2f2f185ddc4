"""The watchdog needs the standard library only."""

from talweg.local.watchdog import Watchdog


def test_the_watchdog_runs_without_anything_installed() -> None:
    watchdog = Watchdog({})
    watchdog.add(2**22 + 1)
    watchdog.check()
    watchdog.close()
