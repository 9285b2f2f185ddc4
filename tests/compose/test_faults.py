"""Each service killed, crashed and cut off from the network in turn, while a study trains; `make compose-faults`.

Afterwards the study has finished, every bit of it is what a local stack recorded, MLflow has it all, and the
laboratory takes new work. The three faults differ: `docker kill` counts as a wish of the operator, so that the
container stays away until it is started again; a process that dies by itself is started again by Docker; and whoever
is cut off from the network lives on, believes that all is well, and hears nothing, not even that connections ended.

About a quarter of an hour with the times that compose sets (leases of 30 s).
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.compose.conftest import Containers

pytestmark = [pytest.mark.compose_faults, pytest.mark.timeout(900)]

SERVICES = ("postgres", "redis", "mlflow", "api", "worker", "tracking", "reconciler")
# What a cut shows by: words in the log of a service on either side of it. Workers are seen by their lease, below.
WORDS = {
    "postgres": ("reconciler", "not reconciled"),
    "redis": ("worker", "Connection to broker lost"),
    "mlflow": ("tracking", "not mirroring"),
    "tracking": ("tracking", "not mirroring"),
    "reconciler": ("reconciler", "not reconciled"),
}


@pytest.mark.parametrize("service", SERVICES)
def test_a_study_outlives_a_cut_of_the_network(
    containers: "Containers", untouched: dict[str, str], service: str
) -> None:
    with containers.lab() as lab:
        study = containers.begin(lab)
        network, container = f"{containers.name}_inside", containers.container(service)
        before = _troubles(containers, service)
        containers.docker("network", "disconnect", network, container)
        try:
            containers.within(120, lambda: _troubles(containers, service) > before, "the cut to be felt")
        finally:
            containers.docker("network", "connect", "--alias", service, network, container)
        containers.up("--no-build", "--no-recreate")
        assert containers.end(study) == untouched
        lab.submit(problem="digits-mlp", optimizer="sgd", steps=10).wait(timeout=120)


@pytest.mark.parametrize("service", SERVICES)
def test_a_study_outlives_a_crash_without_help(
    containers: "Containers", untouched: dict[str, str], service: str
) -> None:
    with containers.lab() as lab:
        study = containers.begin(lab)
        before = _start(containers, service)
        # From outside: inside of its own container, a first process cannot be killed.
        killer = ["run", "--rm", "--pid=host", "--network=none", "--user=0", "--cap-drop=ALL", "--cap-add=KILL"]
        containers.docker(*killer, "--entrypoint=sh", "talweg", "-c", f"kill -9 {before[0]}")
        containers.within(60, lambda: _started_again(containers, service, before), f"{service} to be started again")
        assert containers.end(study) == untouched
        lab.submit(problem="digits-mlp", optimizer="sgd", steps=10).wait(timeout=120)


@pytest.mark.parametrize("service", SERVICES)
def test_a_study_outlives_a_kill(containers: "Containers", untouched: dict[str, str], service: str) -> None:
    with containers.lab() as lab:
        study = containers.begin(lab)
        containers.docker("kill", containers.container(service))
        assert "running" not in containers.compose("ps", "--all", "--format", "{{.State}}", service)
        containers.up("--no-build", "--no-recreate")
        assert containers.end(study) == untouched
        lab.submit(problem="digits-mlp", optimizer="sgd", steps=10).wait(timeout=120)


def _troubles(containers: "Containers", service: str) -> int:
    """How often a service that is cut off, or another that misses it, has shown that it is in trouble."""
    if service == "api":
        return int(containers.ready()[0] != 200)
    if service == "worker":
        # Its lease ran out, and the reconciler took the cohort from it.
        return int(containers.query("SELECT coalesce(sum(value), 0) FROM counters WHERE name = 'leases_lost'"))
    return containers.said(*WORDS[service])


def _start(containers: "Containers", service: str) -> tuple[str, str]:
    """Process id and time of the last start of the service's container."""
    shown = containers.docker(
        "inspect", "--format", "{{.State.Pid}} {{.State.StartedAt}}", containers.container(service)
    )
    pid, _, started = shown.partition(" ")
    return pid, started


def _started_again(containers: "Containers", service: str, before: tuple[str, str]) -> bool:
    now = _start(containers, service)
    return now[0] != "0" and now[1] != before[1]
