"""Instruments compared with formulas, equal under both record policies, and their errors."""

from collections.abc import Callable
from itertools import chain

import numpy as np
import pytest

from talweg.errors import InvalidSpec, NoSuchStep
from talweg.execution import fork_run, submit_run, train
from talweg.records import cohort_of, records
from talweg.records.instruments.kinds import INSTRUMENTS, Measured, measure
from talweg.settings import Settings
from talweg.spec import RunSpec, parse_fork
from talweg.store import RunRow, Store
from talweg_core.layout import Array

SETTINGS = Settings().model_copy(update={"workers": 1})
QUADRATIC = {"problem": {"name": "quadratic"}, "optimizer": {"name": "sgd", "learning_rate": 0.1}, "steps": 70}


def finished(store: Store, spec: RunSpec) -> RunRow:
    run = submit_run(store, spec, publish=lambda _: None, settings=SETTINGS)
    train(store, run.cohort_id, owner="test", settings=SETTINGS)
    return store.run(run.id)


def column(found: Measured, name: str) -> Array:
    names = [one for own in found.columns.values() for one in own]
    values: Array = found.rows[:, names.index(name)]
    return values


@pytest.fixture
def run(store: Store, spec: Callable[..., RunSpec]) -> RunRow:
    """150 steps of a small network under Adam, with record `full`."""
    return finished(store, spec(record="full"))


def test_both_record_policies_measure_the_same(store: Store, spec: Callable[..., RunSpec], run: RunRow) -> None:
    replayed = finished(store, spec(record="replay"))
    for steps in (range(0, 150, 37), range(62, 67), range(149, 150)):
        one, other = (measure(store, row, [], steps) for row in (run, replayed))
        assert one.columns.keys() == INSTRUMENTS.keys()
        assert one.steps == other.steps == list(steps)
        np.testing.assert_array_equal(one.rows, other.rows)
        assert (one.next, one.left_out) == (None, {})


def test_norms_ratios_distances_and_cosines_are_those_of_the_vectors(store: Store, run: RunRow) -> None:
    gradients, path = records(store, run, "gradient", 0, 150), records(store, run, "parameters", 0, 151)
    path = path.astype(np.float64)
    names = ["gradient_norm", "update_ratio", "distance", "gradient_cosine"]
    found = measure(store, run, names, range(0, 150, 3))
    for row, t in enumerate(found.steps):
        g = gradients[t].astype(np.float64)
        expected = {
            "gradient_norm": np.linalg.norm(g),
            "update_ratio": np.linalg.norm(path[t + 1] - path[t]) / np.linalg.norm(path[t]),
            "distance": np.linalg.norm(path[t] - path[0]),
        }
        if t:
            before = gradients[t - 1].astype(np.float64)
            expected["gradient_cosine"] = g @ before / np.linalg.norm(g) / np.linalg.norm(before)
        for name, value in expected.items():
            assert column(found, name)[row] == pytest.approx(value, rel=1e-6), (name, t)
    assert np.isnan(column(found, "gradient_cosine")[0])
    # A tensor's own: the first weight is the first of the vector.
    size = int(np.prod(run.tensors[0]["shape"]))
    own = column(found, f"distance.{run.tensors[0]['name']}")
    assert own[7] == pytest.approx(float(np.linalg.norm((path[21] - path[0])[:size])), rel=1e-12)


def test_on_a_quadratic_curvature_and_alpha_are_known(store: Store) -> None:
    quadratic = finished(store, RunSpec.model_validate(QUADRATIC | {"precision": "float64", "record": "replay"}))
    found = measure(store, quadratic, ["alpha", "hessian_eigenvalue", "gradient_cosine"], range(70))
    problem = cohort_of([RunSpec.model_validate(quadratic.spec)]).problem
    size = problem.layout.size
    hessian = np.stack([_hessian_column(quadratic, k) for k in range(size)])
    largest = float(np.linalg.eigvalsh(hessian)[-1])
    np.testing.assert_allclose(column(found, "hessian_eigenvalue"), largest, rtol=1e-4)
    # Along u = −η g: C falls with slope −|g| and bends by gᵀ H g / |g|², so α = η gᵀ H g / |g|² − 1.
    gradients = records(store, quadratic, "gradient", 0, 70)
    expected = [0.1 * float(g @ hessian @ g / (g @ g)) - 1 for g in gradients[:-1]]
    np.testing.assert_allclose(column(found, "alpha")[:-1], expected, rtol=1e-6, atol=1e-6)
    assert np.isnan(column(found, "alpha")[-1])


def _hessian_column(run: RunRow, k: int) -> Array:
    cohort = cohort_of([RunSpec.model_validate(run.spec)])
    return cohort.hessian_product(np.eye(cohort.problem.layout.size)[k])


def test_signal_and_noise_are_those_of_the_examples(store: Store, run: RunRow) -> None:
    found = measure(store, run, ["gradient_snr"], range(40, 42))
    cohort = cohort_of([RunSpec.model_validate(run.spec)])
    cohort.parameters[0], cohort.step = records(store, run, "parameters", 40, 41)[0], 40
    each = np.stack([gradient.astype(np.float64) for _, gradient in cohort.examples()])
    mean, count = each.mean(axis=0), len(each)
    assert column(found, "gradient_snr")[0] == pytest.approx(
        float(mean @ mean) / (float(each.var(axis=0, ddof=1).sum()) / count), rel=1e-4
    )
    expected = float(np.mean(mean**2 / (each.var(axis=0) + 1e-5)))
    assert column(found, "gradient_snr.mean")[0] == pytest.approx(expected, rel=1e-4)


def test_noise_alone_has_a_ratio_of_one(store: Store) -> None:
    # At the minimum of the noisy quadratic the true gradient is 0, and the learning rate is too small to leave it.
    spec = {"name": "noisy-quadratic", "start": [0.0] * 100}
    still = {"problem": spec, "optimizer": {"name": "sgd", "learning_rate": 1e-12}, "steps": 64, "record": "replay"}
    found = measure(store, finished(store, RunSpec.model_validate(still)), ["gradient_snr"], range(64))
    # 64 independent ratios; ten of the 100 curvatures make nearly all of each, so one scatters by √(2 / 10).
    assert column(found, "gradient_snr").mean() == pytest.approx(1, abs=4 * np.sqrt(2 / 10 / 64))


def test_histograms_count_every_coordinate_once(store: Store, run: RunRow) -> None:
    found = measure(store, run, ["gradient_histogram", "parameter_histogram"], range(0, 150, 50))
    gradients, path = (records(store, run, kind, 100, 101)[0] for kind in ("gradient", "parameters"))
    for name, values in (("gradient_histogram", gradients), ("parameter_histogram", path)):
        names = found.columns[name]
        assert len(names) == 99
        counts = dict(zip(names, (column(found, one)[2] for one in names), strict=True))
        assert sum(counts.values()) == values.size
        low, high = 10.0 ** (-6 / 4), 10.0 ** (-5 / 4)
        assert counts[f"{name}[{low:.3g}, {high:.3g})"] == np.sum((low <= values) & (values < high))
        assert counts[f"{name}[-1e-08, 1e-08)"] == np.sum(np.abs(values) < 1e-8)


def test_a_fork_is_measured_through_its_parent(store: Store, run: RunRow) -> None:
    asked = parse_fork({"step": 100, "optimizer": "sgd", "steps": 120})
    fork = fork_run(store, run, asked, publish=lambda _: None)
    train(store, fork.cohort_id, owner="test", settings=SETTINGS)
    names = ["distance", "gradient_snr", "gradient_cosine", "hessian_eigenvalue", "update_ratio"]
    one, other = (measure(store, store.run(row.id), names, range(96, 101)) for row in (fork, run))
    # Equal up to step 100 and its gradient; the update of step 100 differs.
    ratios = [k for k, name in enumerate(chain(*one.columns.values())) if name.startswith("update_ratio")]
    np.testing.assert_array_equal(one.rows[:4], other.rows[:4])
    np.testing.assert_array_equal(np.delete(one.rows[4], ratios), np.delete(other.rows[4], ratios))


def test_measuring_may_be_done_in_parts(store: Store, run: RunRow) -> None:
    whole = measure(store, run, ["gradient_cosine", "alpha"], range(0, 150, 10))
    parts, at = [], 0
    while True:
        part = measure(store, run, ["gradient_cosine", "alpha"], range(at, 150, 10), seconds=0)
        parts.append(part)
        if part.next is None:
            break
        at = part.next
    assert len(parts) > 1
    assert [step for part in parts for step in part.steps] == whole.steps
    np.testing.assert_array_equal(np.concatenate([part.rows for part in parts]), whole.rows)


def test_invalid_requests_name_the_reason(store: Store, run: RunRow) -> None:
    with pytest.raises(InvalidSpec, match="instrument: there is no 'gradient_nrm'; did you mean 'gradient_norm'"):
        measure(store, run, ["gradient_nrm"], range(1))
    for steps, said in ((range(150, 151), "150"), (range(0, 200, 10), "0 to 190 by 10"), (range(-3, 2), "-3 to 1")):
        with pytest.raises(NoSuchStep, match=f"has instruments of the steps 0 to 149, got {said}$"):
            measure(store, run, ["alpha"], steps)
    rosenbrock = finished(store, RunSpec.model_validate({"problem": "rosenbrock", "optimizer": "adam", "steps": 5}))
    with pytest.raises(InvalidSpec, match="gradient_snr: rosenbrock has no examples"):
        measure(store, rosenbrock, ["gradient_snr"], range(5))
    found = measure(store, rosenbrock, [], range(5))
    assert found.left_out.keys() == {"gradient_snr"}
    assert "gradient_snr" not in found.columns
    assert found.rows.shape == (5, sum(map(len, found.columns.values())))


def test_a_diverged_run_is_measured_to_its_end(store: Store, spec: Callable[..., RunSpec]) -> None:
    asked = spec(problem="diabetes-linear", optimizer={"name": "sgd", "learning_rate": 1e6}, record="replay")
    diverged = finished(store, asked)
    assert diverged.stop_reason == "diverged"
    found = measure(store, diverged, [], range(diverged.step))
    assert found.steps[-1] == diverged.step - 1
    assert np.isfinite([column(found, name)[0] for name in ("gradient_snr", "alpha", "hessian_eigenvalue")]).all()
    # Its last cost is not finite, so alpha is not defined.
    assert np.isnan(column(found, "alpha")[-2:]).all()
