"""Each service killed, crashed and disconnected from the network while a study trains; `make compose-faults`.

Afterwards the study has finished with the same bits as on a local stack, MLflow has all of it, and the laboratory
accepts new work. The three faults differ: after `docker kill` Docker does not restart the container; a process that
crashes is restarted by Docker; and a disconnected service keeps running and receives nothing, not even the end of its
connections.

About a quarter of an hour with the times of docker-compose.yml (leases of 30 s).
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.compose.conftest import Containers

pytestmark = [pytest.mark.compose_faults, pytest.mark.timeout(900)]

SERVICES = ("postgres", "redis", "mlflow", "api", "worker", "tracking", "reconciler")
# How a disconnection shows: a service, and words in its log. Workers and the API are checked in `_failures`.
LOGGED = {
    "postgres": ("reconciler", "not reconciled"),
    "redis": ("worker", "Connection to broker lost"),
    "mlflow": ("tracking", "not mirroring"),
    "tracking": ("tracking", "not mirroring"),
    "reconciler": ("reconciler", "not reconciled"),
}


@pytest.mark.parametrize("service", SERVICES)
def test_a_study_survives_a_disconnected_service(
    containers: "Containers", undisturbed: dict[str, str], service: str
) -> None:
    with containers.lab() as lab:
        study = containers.begin(lab)
        network, container = f"{containers.name}_inside", containers.container(service)
        before = _failures(containers, service)
        containers.docker("network", "disconnect", network, container)
        try:
            containers.within(120, lambda: _failures(containers, service) > before, "the disconnection to show")
        finally:
            containers.docker("network", "connect", "--alias", service, network, container)
        containers.up("--no-build", "--no-recreate")
        assert containers.end(study) == undisturbed
        lab.submit(problem="digits-mlp", optimizer="sgd", steps=10).wait(timeout=120)


@pytest.mark.parametrize("service", SERVICES)
def test_a_study_survives_a_crash(containers: "Containers", undisturbed: dict[str, str], service: str) -> None:
    with containers.lab() as lab:
        study = containers.begin(lab)
        before = _start(containers, service)
        # From another container: a container's process 1 cannot be killed from inside.
        killer = ["run", "--rm", "--pid=host", "--network=none", "--user=0", "--cap-drop=ALL", "--cap-add=KILL"]
        containers.docker(*killer, "--entrypoint=sh", "talweg", "-c", f"kill -9 {before[0]}")
        containers.within(60, lambda: _started_again(containers, service, before), f"{service} to be started again")
        assert containers.end(study) == undisturbed
        lab.submit(problem="digits-mlp", optimizer="sgd", steps=10).wait(timeout=120)


@pytest.mark.parametrize("service", SERVICES)
def test_a_study_survives_a_kill(containers: "Containers", undisturbed: dict[str, str], service: str) -> None:
    with containers.lab() as lab:
        study = containers.begin(lab)
        containers.docker("kill", containers.container(service))
        assert "running" not in containers.compose("ps", "--all", "--format", "{{.State}}", service)
        containers.up("--no-build", "--no-recreate")
        assert containers.end(study) == undisturbed
        lab.submit(problem="digits-mlp", optimizer="sgd", steps=10).wait(timeout=120)


def _failures(containers: "Containers", service: str) -> int:
    """How often a disconnected service, or one that needs it, has reported a failure."""
    if service == "api":
        return int(containers.ready()[0] != 200)
    if service == "worker":
        # Its lease expired, and the reconciler released the cohort.
        return int(containers.query("SELECT coalesce(sum(value), 0) FROM counters WHERE name = 'leases_lost'"))
    return containers.logged(*LOGGED[service])


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
