"""Time of a step: Talweg's rules, the same rules of PyTorch and optax in Talweg, and PyTorch's and optax's own loops.

Needs both libraries: `make libraries-test` makes the environment, then
`.venv-libraries/bin/python benchmarks/libraries.py`.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import optax
import torch
from jax import numpy as jnp
from tables import print_rows

from talweg.rules import create
from talweg_core import Cohort, problems

PROBLEM = problems.create("digits-mlp")
# Ours, PyTorch's with its class, optax's with its function; each with its library's defaults.
RULES: list[tuple[str, str, str]] = [
    ("sgd", "SGD", "sgd"),
    ("adam", "Adam", "adam"),
    ("adamw", "AdamW", "adamw"),
    ("rmsprop", "RMSprop", "rmsprop"),
    ("radam", "RAdam", "radam"),
]
STEPS, TURNS = 100, 5


def least(call: Callable[[], object]) -> float:
    """Microseconds of one call: the least of several turns."""
    call()
    best = float("inf")
    for _ in range(TURNS):
        at = time.perf_counter()
        for _ in range(STEPS):
            call()
        best = min(best, (time.perf_counter() - at) / STEPS * 1e6)
    return best


def in_talweg(name: str) -> float:
    """A step of one run, gradient included."""
    settings = {"learning_rate": 1e-3} if ":" in name else {}
    return least(Cohort(PROBLEM, [create(name, **settings)], [0]).advance)


def point() -> tuple[Any, Any]:
    """Parameters and gradient of a run at step 0, as tensors by name."""
    cohort = Cohort(PROBLEM, [create("sgd")], [0])
    _, gradient = cohort.gradient()
    return PROBLEM.layout.tensors(cohort.parameters[0]), PROBLEM.layout.tensors(gradient[0].copy())


def alone_in_torch(name: str) -> float:
    """PyTorch's step alone, on a given gradient."""
    torch.set_num_threads(1)
    tensors, gradient = point()
    parameters = [torch.nn.Parameter(torch.tensor(tensor)) for tensor in tensors.values()]
    for parameter, tensor in zip(parameters, gradient.values(), strict=True):
        parameter.grad = torch.tensor(tensor)
    return least(getattr(torch.optim, name)(parameters, lr=1e-3).step)


def alone_in_optax(name: str) -> float:
    """optax's compiled step alone, on a given gradient."""
    made = getattr(optax, name)(1e-3)
    tensors, gradient = ({key: jnp.asarray(one) for key, one in tree.items()} for tree in point())

    @jax.jit  # type: ignore[untyped-decorator]  # JAX is not installed where types are checked
    def step(state: Any, parameters: Any) -> Any:
        updates, state = made.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state

    state = made.init(tensors)
    return least(lambda: jax.block_until_ready(step(state, tensors)))


def rows() -> Iterator[dict[str, Any]]:
    """A row for each rule; the gradient of one run takes as long in each of the three columns of Talweg."""
    for ours, torchs, optaxs in RULES:
        yield {
            "µs a step": ours,
            "Talweg": round(in_talweg(ours)),
            "torch: in Talweg": round(in_talweg(f"torch:{torchs}")),
            "optax: in Talweg": round(in_talweg(f"optax:{optaxs}")),
            "PyTorch's step alone": round(alone_in_torch(torchs)),
            "optax's step alone": round(alone_in_optax(optaxs)),
        }


if __name__ == "__main__":
    print_rows(rows())
