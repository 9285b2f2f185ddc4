"""talweg doctor: troubles with remedies on stdout; the exit status is 1 if there are any."""

from collections.abc import Callable
from typing import Any

Talweg = Callable[..., Any]


def test_without_a_stack_it_prints_how_to_start_and_starts_nothing(talweg: Talweg) -> None:
    done = talweg("doctor")
    assert done.status == 1
    assert "nothing runs in" in done.out
    assert "talweg up" in done.out
    (trouble,) = talweg("doctor", "--json").json
    assert trouble["remedy"] == "talweg up"


def test_troubles_of_a_remote_laboratory_are_printed(remote: Talweg) -> None:
    done = remote("doctor")
    assert done.status == 1
    assert "no reconciler runs" in done.out
    assert done.err.splitlines()[-1] == "Next: talweg status, talweg logs"
