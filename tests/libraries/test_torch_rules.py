"""Rules of torch.optim and pytorch_optimizer have the bits of a loop that steps the library itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_optimizer
import torch
from tests.libraries.conftest import STEPS, Laboratory, flat, layout

from talweg import rules
from talweg.execution import fork_run
from talweg.libraries.torch_rules import TorchOptimizer
from talweg.records import verify
from talweg.spec import ForkSpec
from talweg_core import Cohort, problems
from talweg_core.layout import Array
from talweg_core.optimizers.source import name_of

TORCH: dict[str, dict[str, Any]] = {
    "Adadelta": {"lr": 1.0, "rho": 0.95},
    "Adafactor": {"lr": 0.01},
    "Adagrad": {"lr": 0.05},
    "Adam": {"lr": 2e-3, "betas": (0.85, 0.99), "weight_decay": 1e-3, "amsgrad": True},
    "AdamW": {"lr": 1e-3, "weight_decay": 0.05},
    "Adamax": {},
    "ASGD": {"lr": 0.02},
    "NAdam": {},
    "RAdam": {},
    "RMSprop": {"lr": 1e-3, "centered": True, "momentum": 0.5},
    "Rprop": {},
    "SGD": {"lr": 0.05, "momentum": 0.9, "nesterov": True},
}
BROUGHT: dict[str, dict[str, Any]] = {
    "Lion": {"lr": 3e-4, "betas": (0.9, 0.98)},
    "AdaBelief": {},
    "Prodigy": {"lr": 1.0},
    "MARS": {},
    "AdEMAMix": {},
    "Muon": {},
    "ScheduleFreeAdamW": {},
    "Shampoo": {},
    "Lamb": {"lr": 1e-3},
    "GrokFastAdamW": {},
    "Tiger": {},
    "StableAdamW": {},
    "SCION": {"lr": 1e-3},
}
CASES = [*(("torch", torch.optim, *case) for case in TORCH.items())] + [
    ("pytorch_optimizer", pytorch_optimizer, *case) for case in BROUGHT.items()
]


def plain_loop(module: Any, name: str, settings: dict[str, Any], start: Array, gradients: Array) -> Array:
    """The parameters after the library's own steps with these gradients."""
    parameters = [torch.nn.Parameter(torch.tensor(tensor)) for tensor in layout().tensors(start).values()]
    given: list[Any] = parameters
    if name == "Muon":
        given = [
            {"params": [p for p in parameters if (p.ndim > 1) is flag], "use_muon": flag} for flag in (True, False)
        ]
    optimizer = getattr(module, name)(given, **settings)
    if hasattr(optimizer, "train"):
        optimizer.train()
    for gradient in gradients:
        for parameter, tensor in zip(parameters, layout().tensors(gradient).values(), strict=True):
            parameter.grad = torch.tensor(tensor)
        optimizer.step()
    return flat([parameter.detach() for parameter in parameters])


@pytest.mark.parametrize(("library", "module", "name", "settings"), CASES, ids=[f"{c[0]}:{c[2]}" for c in CASES])
def test_a_rule_has_the_library_s_bits_interrupted_forked_and_replayed(
    laboratory: Laboratory,
    same_bits: Callable[[Array, Array], bool],
    library: str,
    module: Any,
    name: str,
    settings: dict[str, Any],
) -> None:
    run = laboratory.train({"name": f"{library}:{name}", **settings}, interrupted=70)
    _, gradients, parameters = laboratory.recorded(run)
    assert len(gradients) == STEPS
    moved = np.abs(parameters[-1] - parameters[0]).max()
    assert moved > 1e-3
    assert same_bits(parameters[-1], plain_loop(module, name, settings, parameters[0], gradients))
    checked = verify(laboratory.store, run)
    assert checked.agrees, str(checked)
    fork = fork_run(laboratory.store, run, ForkSpec(step=110), publish=lambda _: None, settings=laboratory.settings)
    laboratory.go_on(fork)
    assert same_bits(laboratory.recorded(laboratory.store.run(fork.id))[2][-1], parameters[-1])


def test_ours_and_theirs_agree_where_both_have_the_rule() -> None:
    problem = problems.create("wine-mlp")
    for ours, theirs, settings in [
        ("adam", "torch:Adam", {}),
        ("adamw", "torch:AdamW", {"weight_decay": 0.01}),
        ("lion", "pytorch_optimizer:Lion", {"learning_rate": 1e-4, "weight_decay": 0.0}),
        ("radam", "torch:RAdam", {}),
        ("nadam", "torch:NAdam", {}),
    ]:
        found = []
        for name in (ours, theirs):
            runs = Cohort(problem, [rules.create(name, **settings)], [0], precision="float64")
            for _ in runs.run(STEPS):
                pass
            found.append(runs.parameters[0])
        # The order of a few roundings differs.
        assert np.linalg.norm(found[0] - found[1]) <= 1e-9 * np.linalg.norm(found[1]), ours


OWN = """import torch

class Halved(torch.optim.Optimizer):
    \"\"\"θ ← θ − η g / 2.\"\"\"

    def __init__(self, params, lr=0.1, half=0.5):
        super().__init__(params, dict(lr=lr, half=half))

    @torch.no_grad()
    def step(self, closure):
        cost = closure()
        assert cost > 0
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["calls"] = state.get("calls", 0) + 1
                p.sub_(p.grad, alpha=group["lr"] * group["half"])
"""


def test_a_class_of_the_user_s_own_asks_for_the_cost(laboratory: Laboratory, tmp_path: Path) -> None:
    name = name_of(OWN)
    (tmp_path / "rules" / f"{name}.py").write_text(OWN)
    run = laboratory.train({"name": name, "lr": 0.04}, interrupted=30)
    _, gradients, parameters = laboratory.recorded(run)
    assert run.spec["optimizer"]["half"] == 0.5
    expected = parameters[0].copy()
    for gradient in gradients:
        expected -= np.float32(0.02) * gradient
    assert np.allclose(parameters[-1], expected, rtol=1e-4, atol=1e-5)
    assert verify(laboratory.store, run).agrees
    kind = rules.kind_of(name)
    assert issubclass(kind, TorchOptimizer)
    assert (kind.__doc__ or "").startswith("θ ← θ − η g / 2.")
