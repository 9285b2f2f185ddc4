"""The example that must always work: two linear layers of one weight and one bias each, explained in a sentence."""

from typing import TYPE_CHECKING

from talweg.records import explain, gradient, parameters
from talweg.spec import RunSpec

if TYPE_CHECKING:
    from tests.integration.conftest import Stack


def test_two_layer_line_through_the_whole_system(any_stack: "Stack") -> None:
    any_stack.start_worker()
    spec = {"problem": "two-layer-line", "optimizer": {"name": "adam", "learning_rate": 0.5}, "steps": 3}
    run = any_stack.wait(any_stack.submit(RunSpec.model_validate(spec)))
    store = any_stack.store
    assert store.steps(run.id).cost[0] == 3
    assert parameters(store, run, 0).tolist() == [1, 0, 2, 0]
    assert gradient(store, run, 0).tolist() == [3, 2, 1.5, 1]
    found = explain(store, run, 0, "dense1.weight", (0, 0))
    assert (found.cost, found.nudged_cost, found.derivative) == (3, 6, 3)
    assert found.sentence.startswith(
        "Raising `dense1.weight` from 1 to 2 raises the cost from 3 to 6, so the derivative is 3: "
        "the cost moves three times as much as the weight. Adam made an update of −0.5"
    )


def test_every_derivative_of_a_small_run_is_a_row_of_sql(any_stack: "Stack") -> None:
    any_stack.start_worker()
    spec = {"problem": "two-layer-line", "optimizer": {"name": "sgd", "learning_rate": 0.25}, "steps": 2}
    run = any_stack.wait(any_stack.submit(RunSpec.model_validate(spec)))
    rows = {row.tensor: row for row in any_stack.store.derivatives(run.id, 0, 1)}
    assert {name: row.derivative for name, row in rows.items()} == {
        "dense1.weight": 3, "dense1.bias": 2, "dense2.weight": 1.5, "dense2.bias": 1
    }  # fmt: skip
    assert (rows["dense1.weight"].parameter, rows["dense1.weight"].update) == (1, -0.75)
    assert rows["dense1.weight"].position == "0,0"
