"""Run: waiting, and every number with the bits of the engine."""

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from talweg.client import Lab, Run
from talweg.errors import InvalidSpec, NoSuchStep, RunFailed
from talweg.spec import RunSpec
from talweg.store import Store

SPEC: dict[str, Any] = {
    "problem": "wine-mlp",
    "optimizer": {"name": "adam", "learning_rate": 0.01},
    "steps": 70,
    "seed": 2,
    "evaluate_every": 35,
}


@pytest.fixture(scope="module")
def run(lab: Lab, train: Callable[[], None]) -> Run:
    """A run that has finished."""
    run = lab.submit(SPEC, name="waited <for>")
    train()
    return run.wait(progress=False)


def test_arrays_have_the_bits_of_the_engine(run: Run, held: Callable[[RunSpec], Any]) -> None:
    truth = held(RunSpec.model_validate(SPEC))
    assert run.costs.dtype == np.float64
    assert run.costs.tobytes() == np.asarray(truth.costs, dtype=np.float64).tobytes()
    for step in (0, 37, 63, 64, 69):
        assert _flat(run.gradient(step)).tobytes() == truth.gradients[step].tobytes()
        assert _flat(run.parameters(step)).tobytes() == truth.parameters[step].tobytes()
    assert _flat(run.parameters(step=run.step)).tobytes() == truth.parameters[-1].tobytes()


def test_tensors_have_their_names_shapes_and_precision(run: Run) -> None:
    gradient = run.gradient(step=np.int64(3))
    assert {name: tensor.shape for name, tensor in gradient.items()} == run.shapes
    assert {tensor.dtype for tensor in gradient.values()} == {np.dtype(np.float32)}
    assert all(tensor.flags.owndata and tensor.flags.writeable for tensor in gradient.values())


def test_columns_hold_one_number_a_step(run: Run) -> None:
    assert run.learning_rates.tolist() == [0.01] * 70
    norms = run.norms
    assert set(norms) == {"gradient", "parameters", "update"}
    expected = np.linalg.norm(_flat(run.gradient(5)).astype(np.float64))
    # Squares are added up in float64, in another order.
    assert norms["gradient"][5] == pytest.approx(expected, rel=1e-12)


def test_long_columns_come_in_pages(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, asked = run.costs, []
    fetch = run._wire.array

    def short(path: str, **query: Any) -> NDArray[Any]:
        asked.append(query["start"])
        return fetch(path, **query, stop=query["start"] + 30)

    monkeypatch.setattr(run._wire, "array", short)
    assert run.costs.tobytes() == whole.tobytes()
    assert asked == [0, 30, 60]


def test_evaluations_are_a_table(run: Run) -> None:
    steps = [row["step"] for row in run.evaluations if row["split"] == "validation"]
    assert steps == [0, 35, 70]
    assert list(run.evaluations.to_pandas().columns) == ["step", "split", "cost", "metric"]


def test_many_evaluations_come_in_pages(lab: Lab, train: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    run = lab.submit(SPEC | {"steps": 30, "evaluate_every": 1})
    train()
    whole = list(run.evaluations)
    assert len(whole) == 32
    monkeypatch.setattr("talweg.client.run._EVALUATIONS", 8)
    assert list(run.evaluations) == whole


@pytest.mark.parametrize("step", [70, 1000])
def test_a_step_that_is_not_recorded_raises_no_such_step(run: Run, step: int) -> None:
    with pytest.raises(NoSuchStep, match=f"0 to 69, got.*{step}"):
        run.gradient(step=step)


@pytest.mark.parametrize("step", [-1, 3.7, True, "3", None, 2**40])
def test_a_step_that_is_no_integer_is_refused(run: Run, step: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"step|start"):
        run.gradient(step=step)


def test_explain_is_a_sentence_and_data(lab: Lab, train: Callable[[], None]) -> None:
    run = lab.submit(problem="two-layer-line", optimizer="adam", steps=3, precision="float64")
    train()
    tensor = next(iter(run.shapes))
    explanation = run.explain(step=0, tensor=tensor, index=(0, 0), nudge=1)
    assert "from 1 to 2 raises the cost from 3 to 6, so the derivative is 3" in str(explanation)
    assert "three times as much as the weight. Adam made an update of" in str(explanation)
    assert (explanation["cost"], explanation["nudged_cost"], explanation["derivative"]) == (3, 6, 3)
    assert "<p>Raising" in explanation._repr_html_()
    with pytest.raises(InvalidSpec, match="did you mean"):
        run.explain(step=0, tensor=tensor + "s", index=(0, 0))


def test_wait_prints_one_line_without_a_terminal(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.wait() is run
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("run waited <for>: finished, step 70 of 70, cost ")
    assert err.count("\n") == 1


def test_wait_can_end_before_the_run(lab: Lab) -> None:
    run = lab.submit(SPEC, seed=3)
    with pytest.raises(TimeoutError, match="is still queued; it goes on"):
        run.wait(progress=False, timeout=0.05)
    assert run.cancel().state == "cancelled"
    assert run.wait(progress=False).stop_reason == "cancelled"


def test_waiting_for_a_run_that_fails_raises_the_reason(lab: Lab, store: Store, train: Callable[[], None]) -> None:
    train()
    run = lab.submit(SPEC, seed=4)
    claim = store.claim(store.run(run.id).cohort_id, "tests", 60)
    assert claim is not None
    store.fail(claim, "Traceback (most recent call last):\n  …\nMemoryError: no room", max_attempts=1)
    with pytest.raises(RunFailed, match=f"run {run.name} failed at step 0: MemoryError: no room"):
        run.wait(progress=False)
    assert run.error is not None
    assert run.error.startswith("Traceback")


def test_a_diverged_run_is_finished_and_says_so(lab: Lab, train: Callable[[], None]) -> None:
    run = lab.submit(problem="wine-mlp", optimizer="sgd", learning_rate=1e38, steps=400, seed=1)
    train()
    run.wait(progress=False)
    assert (run.state, run.stop_reason) == ("finished", "diverged")
    assert "diverged" in repr(run)
    assert len(run.costs) == run.step < 400
    assert not np.isfinite(run.costs[-1]) or not np.isfinite(_flat(run.gradient(run.step - 1))).all()


def test_ctrl_c_ends_the_wait_and_not_the_run(lab: Lab, address: Any) -> None:
    run = lab.submit(SPEC, seed=5, name="long one")
    script = (
        "import os, signal, sys, time\nfrom talweg import Lab\n"
        # A suite that runs in the background of a shell ignores the key.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "run = Lab(sys.argv[1], token=sys.argv[2]).run('long one')\n"
        # As if the key was pressed during the first pause between two looks.
        "time.sleep = lambda seconds: os.kill(os.getpid(), signal.SIGINT)\n"
        "run.wait()\n"
    )
    command = [sys.executable, "-c", script, address.url, address.token]
    done = subprocess.run(command, text=True, capture_output=True, timeout=600, check=False)
    # Python ends by the signal itself where nobody catches KeyboardInterrupt.
    assert done.returncode == -signal.SIGINT
    assert done.stdout == ""
    assert "Stopped waiting; the run continues." in done.stderr
    assert "lab.run('long one').wait()" in done.stderr
    assert f"talweg cancel {run.id}" in done.stderr
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
    assert run.state == "queued"
    run.cancel()


def test_a_run_shows_itself(run: Run) -> None:
    assert repr(run).startswith("<Run waited <for>: finished, step 70 of 70, cost ")
    page = run._repr_html_()
    assert "waited &lt;for&gt;" in page
    assert "learning_rate=0.01" in page
    assert "<details>" in page


def _flat(tensors: dict[str, NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([tensor.reshape(-1) for tensor in tensors.values()])
