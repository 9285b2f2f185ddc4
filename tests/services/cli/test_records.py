"""fork, resume, next, verify, export and instruments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

Talweg = Callable[..., Any]


@pytest.fixture
def name(remote: Talweg, train: Callable[[], None]) -> str:
    """A run that has finished."""
    done = remote("submit", "wine-mlp", "adam", "--steps", "80")
    train()
    return str(done.out.strip())


def test_a_run_is_forked_and_resumed(remote: Talweg, train: Callable[[], None], name: str) -> None:
    done = remote(
        "fork", name, "--step", "30", "--optimizer", "sgd:learning_rate=0.1", "--steps", "50", "--name", "side"
    )
    assert (done.status, done.out, done.err) == (0, "side\n", "Next: talweg show side\n")
    train()
    view = remote("show", "side", "--json").json
    assert (view["state"], view["step"], view["parent_step"]) == ("finished", 50, 30)
    assert view["parent_run_id"] == remote("show", name, "--json").json["id"]
    assert remote("resume", "side", "--steps", "60", "--json").json["state"] == "queued"
    train()
    assert remote("show", "side", "--json").json["step"] == 60
    refused = remote("fork", name, "--step", "81")
    assert (refused.status, refused.out) == (1, "")
    assert "can be forked at the steps 0 to 80, got 81" in refused.err
    assert remote("resume", name, "--steps", "70").status == 2


def test_next_shows_what_optimizers_would_do(remote: Talweg, name: str) -> None:
    done = remote("next", name, "sgd", "lion", "--step", "37")
    assert done.status == 0, done.err
    assert "the run's" in done.out
    assert f"talweg fork {name} --step 37 --optimizer lion" in done.err
    rows = remote("next", name, "sgd", "--step", "37", "--json").json
    assert [row["optimizer"] for row in rows] == ["adam", "sgd"]


def test_verify_says_whether_the_record_is_true(remote: Talweg, served: Any, name: str) -> None:
    done = remote("verify", name)
    assert done.status == 0, done.err
    assert "the record agrees; 80 steps recomputed" in done.out
    assert remote("verify", name, "--sample", "1", "--json").json["agrees"] is True
    run = served.store.run(name)
    chunk = served.store.chunks(run.id, "norms", 0, 1)[0]
    with served.store.engine.begin() as connection:
        damage = "UPDATE chunks SET payload = :p WHERE run_id = :r AND quantity = 'norms' AND first_step = 0"
        connection.execute(text(damage), {"r": run.id, "p": b"nothing"})
    damaged = remote("verify", name)
    assert (damaged.status, "--repair" in damaged.err) == (1, True)
    assert f"norms of steps 0 to {chunk.steps - 1}" in damaged.out
    repaired = remote("verify", name, "--repair")
    assert (repaired.status, "repaired: run" in repaired.err) == (0, True)
    # The name before 0.2.
    assert remote("verify", name, "--mend").status == 0
    assert "--mend" not in remote("verify", "--help").out
    with served.store.engine.begin() as connection:
        connection.execute(text("UPDATE steps SET cost = 2 WHERE run_id = :r AND step = 40"), {"r": run.id})
    broken = remote("verify", name)
    assert broken.status == 1
    assert "does NOT agree" in broken.out
    assert "cost of step 40" in broken.out


def test_a_run_is_exported(remote: Talweg, name: str, tmp_path: Path) -> None:
    done = remote("export", name, "run.parquet", "--vectors")
    assert (done.status, done.out) == (0, "run.parquet\n")
    assert (tmp_path / "run.parquet").stat().st_size > 80 * 275
    assert "duckdb" in done.err
    assert remote("export", name, "run.csv").status == 2


def test_instruments_are_listed_read_and_drawn(remote: Talweg, name: str, tmp_path: Path) -> None:
    listed = remote("instruments")
    assert listed.status == 0, listed.err
    assert "hessian_eigenvalue" in listed.out
    done = remote("instruments", name, "alpha", "gradient_snr", "--steps", "10:40:10")
    assert done.status == 0, done.err
    assert [line.split()[0] for line in done.out.splitlines()] == ["step", "10", "20", "30"]
    values = remote("instruments", name, "alpha", "--steps", "79", "--json").json
    assert values == {"steps": [79], "alpha": [None]}
    drawn = remote("instruments", name, "distance", "--figure", str(tmp_path / "all.svg"))
    assert (drawn.status, drawn.out) == (0, f"{tmp_path / 'all.svg'}\n"), drawn.err
    assert (tmp_path / "all.svg").read_text().count("</svg>") == 1
    for wrong in (["alpah"], ["alpha", "--steps", "1:2:0"], ["alpha", "--steps", "x"], ["--figure", "all.gif"]):
        assert remote("instruments", name, *wrong).status == 2
