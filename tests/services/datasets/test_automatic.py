"""The network and the cost that the laboratory chooses."""

import numpy as np
import pytest

from talweg.datasets.automatic import filled, network
from talweg.errors import InvalidSpec
from talweg.spec import ProblemSpec
from talweg_core.data import Dataset, split
from talweg_core.problems import NetworkProblem, bundled


def dataset(rows: int, shape: tuple[int, ...], classes: int) -> Dataset:
    rng = np.random.default_rng(0)
    targets = np.arange(rows) % classes if classes else rng.normal(size=(rows, 2))
    return split("mine", rng.normal(size=(rows, *shape)), targets)


@pytest.mark.parametrize(
    ("rows", "shape", "classes", "widths"),
    [
        (60, (2,), 3, [16, 3]),
        (20, (30,), 2, [8, 2]),
        (500, (30,), 2, [64, 2]),
        (5000, (30,), 0, [128, 128, 2]),
        (5000, (100,), 10, [128, 128, 10]),
        (2000, (1, 8, 8), 10, [64, 64, 10]),
    ],
)
def test_its_size_follows_inputs_outputs_and_rows(
    rows: int, shape: tuple[int, ...], classes: int, widths: list[int]
) -> None:
    data = dataset(rows, shape, classes)
    layers = network(data)
    assert [layer["units"] for layer in layers if layer["layer"] == "dense"] == widths
    # It fits the data.
    NetworkProblem("mine", data, layers, "cross_entropy" if classes else "squared_error")


def test_what_is_written_stays_and_what_is_absent_is_filled_in() -> None:
    data = dataset(60, (2,), 3)
    mine = [{"layer": "dense", "units": 3}]
    made = filled(ProblemSpec(name=None, dataset="mine", network=mine), lambda: data).settings
    assert (made["network"], made["cost"]) == (mine, "cross_entropy")
    made = filled(ProblemSpec(name=None, dataset="mine", network="auto", cost="auto"), lambda: data).settings
    assert made["network"] == network(data)
    spelled = ProblemSpec(name=None, dataset="mine", network=mine, cost="huber")
    assert filled(spelled, lambda: pytest.fail("it is not loaded")) is spelled


def test_sequences_need_a_written_network() -> None:
    with pytest.raises(InvalidSpec, match="network: must be written for characters, whose targets are sequences"):
        filled(ProblemSpec(name=None, dataset="characters"), lambda: bundled.load("characters"))
