"""The files of a run: which there are, that the record is exact, and that they are the same each time."""

import io
import json
from collections.abc import Callable

import numpy as np
import pyarrow.parquet as pq
import pytest

from talweg.records import norms, records
from talweg.store import RunRow, Store
from talweg.tracking.run_files import files, parquet

Train = Callable[..., RunRow]
ALWAYS = {
    "cost.png",
    "figures/cost.svg",
    "figures/histograms.png",
    "figures/histograms.svg",
    "figures/norms.png",
    "figures/norms.svg",
    "record.parquet",
    "run.html",
}


@pytest.mark.parametrize(
    ("problem", "more"),
    [("two-layer-line", set()), ("digits-mlp", set()), ("rosenbrock", {"figures/path.png", "figures/path.svg"})],
)
def test_a_run_has_its_files_and_they_are_the_same_each_time(
    local: Store, trained: Train, problem: str, more: set[str]
) -> None:
    run = trained(problem=problem, optimizer="adam")
    found = files(local, run, "a run with $ signs_in $ its name")
    assert found.keys() == ALWAYS | more
    assert all(content.startswith(b"\x89PNG") for name, content in found.items() if name.endswith(".png"))
    assert files(local, run, "a run with $ signs_in $ its name") == found


def test_a_diverged_run_has_its_files(local: Store, trained: Train) -> None:
    run = trained(problem="rosenbrock", optimizer={"name": "sgd", "learning_rate": 1e30})
    assert run.stop_reason == "diverged"
    assert files(local, run, "diverged").keys() >= ALWAYS


def test_the_record_holds_every_number_as_it_was(local: Store, trained: Train) -> None:
    run = trained(problem="wine-mlp", optimizer="adam", steps=70, record="full")
    table = pq.read_table(io.BytesIO(parquet(local, run)))
    recorded = local.steps(run.id)
    np.testing.assert_array_equal(table["step"].to_numpy(), np.arange(70))
    for name in ("cost", "learning_rate", "gradient_norm", "parameter_norm", "update_norm"):
        np.testing.assert_array_equal(table[name].to_numpy(), getattr(recorded, name))
    np.testing.assert_array_equal(table["update_norm.dense1.bias"].to_numpy(), norms(local, run, 0, 70)[:, 2, 1])
    for quantity in ("gradient", "parameters"):
        rows = np.stack(table[quantity].to_pylist()).astype(np.float32)
        np.testing.assert_array_equal(rows, records(local, run, quantity, 0, 70))
    about = json.loads(table.schema.metadata[b"talweg"])
    assert (about["run"], about["holds"]) == (run.id, "everything")


def test_a_record_of_a_replay_run_says_where_the_rest_is(local: Store, trained: Train) -> None:
    run = trained(problem="wine-mlp", optimizer="adam", record="replay")
    table = pq.read_table(io.BytesIO(parquet(local, run)))
    assert "gradient" not in table.column_names
    about = json.loads(table.schema.metadata[b"talweg"])
    assert about["holds"] == "cost, learning rate and norms; the laboratory has the rest"
