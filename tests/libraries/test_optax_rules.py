"""Rules of optax have the bits of a compiled loop that steps optax itself."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from jax import numpy as jnp
from tests.libraries.conftest import Laboratory, flat, layout

from talweg.execution import fork_run
from talweg.records import verify
from talweg.spec import ForkSpec
from talweg_core.layout import Array
from talweg_core.optimizers.source import name_of

RULES: dict[str, dict[str, Any]] = {
    "adam": {"learning_rate": 1e-3, "b1": 0.85},
    "adamw": {"learning_rate": 1e-3, "weight_decay": 0.01},
    "adafactor": {"learning_rate": 0.01},
    "adan": {"learning_rate": 1e-3},
    "lamb": {"learning_rate": 1e-3},
    "lion": {"learning_rate": 3e-4},
    "novograd": {"learning_rate": 1e-3},
    "radam": {"learning_rate": 1e-3},
    "rprop": {"learning_rate": 1e-3},
    "sgd": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True},
    "sm3": {"learning_rate": 0.05},
    "yogi": {"learning_rate": 0.01},
}


def plain_loop(made: Any, start: Array, gradients: Array) -> Array:
    """The parameters after optax's own steps, compiled, with these gradients."""

    def tree(values: Array) -> dict[str, Any]:
        return {name: jnp.asarray(tensor) for name, tensor in layout().tensors(values).items()}

    @jax.jit  # type: ignore[untyped-decorator]  # JAX is not installed where types are checked
    def step(gradient: Any, state: Any, parameters: Any) -> Any:
        updates, state = made.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state

    parameters = tree(start)
    state = made.init(parameters)
    for gradient in gradients:
        parameters, state = step(tree(gradient), state, parameters)
    return flat([parameters[name] for name in layout().names])


@pytest.mark.parametrize("name", RULES)
def test_a_rule_has_optax_s_bits_interrupted_forked_and_replayed(
    laboratory: Laboratory, same_bits: Callable[[Array, Array], bool], name: str
) -> None:
    run = laboratory.train({"name": f"optax:{name}", **RULES[name]}, interrupted=70)
    _, gradients, parameters = laboratory.recorded(run)
    assert np.abs(parameters[-1] - parameters[0]).max() > 1e-3
    assert same_bits(parameters[-1], plain_loop(getattr(optax, name)(**RULES[name]), parameters[0], gradients))
    assert verify(laboratory.store, run).agrees
    fork = fork_run(laboratory.store, run, ForkSpec(step=110), publish=lambda _: None, settings=laboratory.settings)
    laboratory.go_on(fork)
    assert same_bits(laboratory.recorded(laboratory.store.run(fork.id))[2][-1], parameters[-1])


OWN = '''import optax

def clipped(learning_rate, limit=1.0):
    """g clipped to a norm, then gradient descent."""
    return optax.chain(optax.clip_by_global_norm(limit), optax.sgd(learning_rate))
'''


def test_a_function_of_the_user_s_own_returns_a_transformation(
    laboratory: Laboratory, tmp_path: Path, same_bits: Callable[[Array, Array], bool]
) -> None:
    name = name_of(OWN)
    (tmp_path / "rules" / f"{name}.py").write_text(OWN)
    run = laboratory.train({"name": name, "learning_rate": 0.05, "limit": 0.25})
    _, gradients, parameters = laboratory.recorded(run)
    made = optax.chain(optax.clip_by_global_norm(0.25), optax.sgd(0.05))
    assert same_bits(parameters[-1], plain_loop(made, parameters[0], gradients))


def test_a_worker_imports_no_library_before_a_run_asks_for_one() -> None:
    code = "import sys, talweg.execution.tasks, talweg.api.app\nprint({'torch', 'jax', 'optax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
