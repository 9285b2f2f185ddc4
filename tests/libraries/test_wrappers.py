"""Wrappers equal PyTorch's and pytorch_optimizer's over 100 steps, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pytorch_optimizer
import torch
from pytorch_optimizer.optimizer.grokfast import gradfilter_ema
from tests.libraries.conftest import layout

from talweg_core import Cohort, optimizers, problems

STEPS = 100
Parameters = list[torch.nn.Parameter]
Step = Callable[[], None]


def cautious(parameters: Parameters) -> Step:
    """Lion, cautious."""
    return pytorch_optimizer.Lion(parameters, lr=3e-4, betas=(0.9, 0.99), cautious=True).step  # type: ignore[no-any-return]


def grokfast(parameters: Parameters) -> Step:
    """Adam on filtered gradients."""
    model, rule = torch.nn.ParameterList(parameters), torch.optim.Adam(parameters, lr=1e-3)
    slow: Any = None

    def step() -> None:
        nonlocal slow
        slow = gradfilter_ema(model, slow, 0.9, 1.5)
        rule.step()

    return step


def lookahead(parameters: Parameters) -> Step:
    """SGD with momentum, pulled back every 5 steps."""
    rule = torch.optim.SGD(parameters, lr=0.02, momentum=0.9)
    return pytorch_optimizer.Lookahead(rule, k=5, alpha=0.4, pullback_momentum="none").step  # type: ignore[no-any-return]


def groups(parameters: Parameters) -> Step:
    """AdamW with another rate and no decay on biases."""
    weights = [p for p in parameters if p.ndim > 1]
    biases = [p for p in parameters if p.ndim == 1]
    given = [{"params": weights}, {"params": biases, "lr": 3e-4, "weight_decay": 0.0}]
    rule: Any = torch.optim.AdamW(given, lr=1e-3, weight_decay=0.1)
    return rule.step  # type: ignore[no-any-return]


CASES: dict[str, tuple[str, dict[str, Any], Callable[[Parameters], Step]]] = {
    "cautious": ("lion", {"learning_rate": 3e-4, "weight_decay": 0.0, "around": [{"name": "cautious"}]}, cautious),
    "grokfast": ("adam", {"around": [{"name": "grokfast", "alpha": 0.9, "strength": 1.5}]}, grokfast),
    "lookahead": (
        "momentum",
        {"learning_rate": 0.02, "around": [{"name": "lookahead", "steps": 5, "alpha": 0.4}]},
        lookahead,
    ),
    "groups": (
        "adam",
        {
            "around": [
                {"name": "tensor_rate", "tensors": "*.bias", "times": 0.3},
                {"name": "weight_decay", "coefficient": 0.1},
            ]
        },
        groups,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrapper_moves_as_the_library_does(name: str) -> None:
    rule, settings, make = CASES[name]
    runs = Cohort(problems.create("wine-mlp"), [optimizers.create(rule, **settings)], [0], precision="float64")
    parameters = [torch.nn.Parameter(torch.tensor(t)) for t in layout().tensors(runs.parameters[0]).values()]
    start, step = runs.parameters[0].copy(), make(parameters)
    for record in runs.run(STEPS):
        for parameter, tensor in zip(parameters, layout().tensors(record.gradient[0]).values(), strict=True):
            parameter.grad = torch.tensor(tensor)
        step()
    found = np.concatenate([parameter.detach().numpy().ravel() for parameter in parameters])
    assert np.linalg.norm(found - start) > 1e-2
    # The gradients are those at our points: roundings grow for a hundred steps.
    assert np.linalg.norm(runs.parameters[0] - found) <= 1e-9 * np.linalg.norm(found)


def test_swa_is_pytorch_s_averaged_model() -> None:
    settings = {"around": [{"name": "swa", "start": 20, "every": 3}]}
    runs = Cohort(problems.create("wine-mlp"), [optimizers.create("adam", **settings)], [0], precision="float64")
    point = torch.nn.ParameterList([torch.nn.Parameter(torch.tensor(runs.parameters[0]))])
    average = torch.optim.swa_utils.AveragedModel(point)
    for step, _ in enumerate(runs.run(STEPS), 1):
        if step > 20 and (step - 21) % 3 == 0:
            with torch.no_grad():
                point[0].copy_(torch.tensor(runs.parameters[0]))
            average.update_parameters(point)
        elif step <= 20:
            assert np.array_equal(runs.evaluation_parameters, runs.parameters)
    (mean,) = (parameter.detach().numpy() for parameter in average.module)
    assert np.abs(runs.evaluation_parameters[0] - mean).max() <= 1e-12
