"""Locked packages, forbidden calls, limits of containers; numbers are lines of the list in guards.toml."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from talweg.api.dependencies import metrics_page
from talweg.store import Meter

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
SOURCES = sorted(
    [*(ROOT / "core").rglob("*.py"), *(ROOT / "services").rglob("*.py"), *(ROOT / "migrations").rglob("*.py")]
)
# Modules that run what they read, and calls that do.
BANNED_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
BANNED_CALLS = {"eval", "exec", "compile", "__import__"}
COMPILES = ("core/talweg_core/optimizers/coordinate.py:", "core/talweg_core/optimizers/brought.py:")
OURS = ("migrate", "api", "worker", "tracking", "reconciler", "mlflow")


def requirements(lock: Path) -> Iterator[tuple[str, str, str]]:
    """Name, version and the rest of each requirement."""
    for entry in re.split(r"\n(?=\S)", lock.read_text()):
        if entry.strip() and not entry.startswith("#"):
            found = re.match(r"([A-Za-z0-9._-]+)==([^ \\;]+)(.*)", entry, re.DOTALL)
            assert found is not None, entry[:80]
            yield found[1].lower(), found[2], found[3]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_30_every_locked_package_has_its_hashes_and_no_place(lock: Path) -> None:
    rows = list(requirements(lock))
    assert rows
    assert all("--hash=sha256:" in rest for _, _, rest in rows)
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", lock.read_text())


@pytest.mark.parametrize(("name", "least"), [("starlette", (1, 3, 1)), ("python-multipart", (0, 0, 27))])
def test_31_what_had_holes_is_locked_behind_them(name: str, least: tuple[int, ...]) -> None:
    for lock in LOCKS:
        for found, version, _ in requirements(lock):
            if found == name:
                assert tuple(map(int, version.split(".")[:3])) >= least, lock


def offences(path: Path) -> Iterator[str]:
    """What a source file does that could run what it reads."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: set[str] = set()
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names} & BANNED_MODULES
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").partition(".")[0]} & BANNED_MODULES
        elif isinstance(node, ast.Call):
            names = {ast.unparse(node.func)} & (BANNED_CALLS | {"yaml.load", "os.system"})
            for keyword in node.keywords:
                on = not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
                names |= {str(keyword.arg)} if keyword.arg in ("shell", "allow_pickle") and on else set()
        yield from (f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}: {name}" for name in names)


def test_32_nothing_in_the_sources_runs_what_it_reads() -> None:
    assert len(SOURCES) > 200
    found = [offence for path in SOURCES for offence in offences(path)]
    # A rule's own source, with its settings' names in it, becomes a function that Numba compiles; no word of it comes
    # from outside of the installed packages. A user's own optimizer runs in a local laboratory only: line 50.
    assert [offence for offence in found if not offence.startswith(COMPILES)] == []


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The services of docker-compose.yml, with anchors and merges resolved."""
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


@pytest.mark.parametrize("name", [*OURS, "redis", "prometheus", "grafana"])
def test_33_containers_have_a_root_that_is_read_only_and_no_capabilities(compose: dict[str, Any], name: str) -> None:
    service = compose[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


def test_33_the_image_runs_as_an_unprivileged_user() -> None:
    last = [line for line in (ROOT / "services" / "Dockerfile").read_text().splitlines() if line.startswith("USER ")][
        -1
    ]
    assert last == "USER talweg"


def test_34_only_the_ports_that_people_open_are_published_and_on_loopback(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose.items() if "ports" in service}
    assert set(published) == {"api", "mlflow", "grafana"}
    assert compose["grafana"]["profiles"] == compose["prometheus"]["profiles"] == ["monitoring"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert "requirepass" in str(compose["redis"]["command"])


def test_mlflow_is_closed_as_far_as_it_can_be(compose: dict[str, Any]) -> None:
    options = dict(one[2:].partition("=")[::2] for one in compose["mlflow"]["command"] if one.startswith("--"))
    assert options["serve-artifacts"] == ""
    assert options["artifacts-destination"] == "talweg:///var/lib/mlflow"
    assert options["x-frame-options"] == "DENY"
    # By name and port, each: its own default pattern lets 10.evil.example in.
    for option in ("allowed-hosts", "cors-allowed-origins"):
        names = re.sub(r"\$\{[^}]*\}", "PORT", options[option]).split(",")
        assert all(re.fullmatch(r"(http://)?(mlflow|127\.0\.0\.1|localhost):PORT", name) for name in names), option
    environment = compose["mlflow"]["environment"]
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "talweg://"
    assert environment["TALWEG_MLFLOW_DATABASE_URL"].startswith("postgresql+psycopg://mlflow:")
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    # What trains cannot be changed from there: of the laboratory's secrets it has that of a role that only reads.
    assert environment["TALWEG_DATABASE_URL"].startswith("postgresql+psycopg://talweg_reader:")
    known = {"DATABASE_URL", "MLFLOW_DATABASE_URL", "MLFLOW_PASSWORD", "MLFLOW_PORT", "NUMERICS"}
    assert {name.removeprefix("TALWEG_") for name in environment if name.startswith("TALWEG_")} == known


def test_every_container_has_limits_and_is_started_again(compose: dict[str, Any]) -> None:
    for name, service in compose.items():
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped"), name


def test_the_dashboard_queries_the_metrics_of_the_api() -> None:
    dashboard = json.loads((ROOT / "services/compose/grafana/talweg.json").read_text())
    asked = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    page = metrics_page(
        Meter(runs={}, cohorts={}, steps=0, unmirrored=0, unmirrored_steps=0, mirror_lag=0, counters={}), 0
    )
    names = set(re.findall(r"^# TYPE (talweg_\w+)", page, re.MULTILINE))
    assert set(re.findall(r"talweg_\w+", asked)) == names


def test_35_no_secret_is_built_into_the_image() -> None:
    dockerfile = (ROOT / "services" / "Dockerfile").read_text()
    assert not re.search(r"(?i)(password|secret|token)\s*=", dockerfile)
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    # Everything is left out but what is named, and no secret is.
    assert rules[0] == "*"
    assert not [rule for rule in rules if ".env" in rule or "secret" in rule]


def test_06_no_default_of_compose_is_a_secret(compose: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    example = (ROOT / ".env.example").read_text().splitlines()
    secrets = [line.rstrip("=") for line in example if line.endswith("=")]
    assert {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "TALWEG_TOKEN", "API_DATABASE_PASSWORD"} < set(secrets)
    for name in secrets:
        # `:?` refuses an empty value, and one that is missing.
        assert set(re.findall(rf"\$\{{{name}([^}}]*)\}}", text)) == {":?"}
