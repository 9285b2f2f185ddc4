"""Rules of every library, by name: bits in a cohort, schedules, and what is refused."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from talweg import rules
from talweg.errors import InvalidSpec
from talweg.execution import submit_run
from talweg.spec import parse_run
from talweg_core import Cohort, problems, schedules

if TYPE_CHECKING:
    from tests.libraries.conftest import Laboratory


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    "name", ["torch:AdamW", "torch:SGD", "pytorch_optimizer:Shampoo", "pytorch_optimizer:Kron", "optax:adamw"]
)
def test_a_run_has_the_same_bits_alone_and_among_others(name: str, precision: str) -> None:
    problem, rule = problems.create("wine-mlp"), rules.create(name, learning_rate=1e-3)
    together = Cohort(problem, [rule] * 3, [5, 0, 6], precision=precision)  # type: ignore[arg-type]
    alone = Cohort(problem, [rule], [0], precision=precision)  # type: ignore[arg-type]
    for cohort in (together, alone):
        for _ in cohort.run(15):
            pass
    assert alone.checkpoint(0) == together.checkpoint(1)


@pytest.mark.parametrize("name", ["torch:SGD", "optax:sgd"])
def test_a_schedule_sets_the_rate_of_every_step(name: str) -> None:
    problem = problems.create("wine-mlp")
    cosine = schedules.create("cosine", steps=50)
    theirs, ours = (
        Cohort(problem, [rules.create(one, learning_rate=0.1)], [0], schedule=cosine) for one in (name, "sgd")
    )
    for cohort in (theirs, ours):
        for _ in cohort.run(50):
            pass
    assert np.allclose(theirs.parameters, ours.parameters, rtol=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ({"name": "torch:AdamX"}, "torch: optimizer: there is no 'AdamX'; did you mean 'Adam"),
        ({"name": "torch:AdamW", "lr": -1.0}, "torch:AdamW: Invalid learning rate: -1.0"),
        ({"name": "torch:AdamW", "lr": 0.1, "learning_rate": 0.2}, "learning_rate is given twice"),
        ({"name": "torch:AdamW", "betas": [0.9]}, "torch:AdamW: betas must be 2 numbers, got [0.9]"),
        ({"name": "torch:AdamW", "beta3": 0.9}, "there is no 'beta3'; did you mean 'beta"),
        ({"name": "torch:AdamW", "version": "1.0"}, "was made with version 1.0, and "),
        ({"name": "torch:Muon"}, "torch:Muon: cannot make a step here: ValueError: Muon only supports 2D parameters"),
        ({"name": "torch:LBFGS"}, "torch:LBFGS: "),
        ({"name": "pytorch_optimizer:Conda"}, "keeps projector, a GaLoreProjector, which no checkpoint can hold"),
        ({"name": "pytorch_optimizer:SOAP"}, "a copy restored from what it keeps goes on with other bits"),
        ({"name": "optax:adamv"}, "optax: optimizer: there is no 'adamv'; did you mean 'adam"),
        ({"name": "optax:lbfgs"}, "optax:lbfgs: cannot make a step here: TypeError: "),
        ({"name": "optax:adam", "beta1": 0.9}, "there is no 'beta1'"),
        ({"name": "jax:adam"}, "optimizer: library: there is no 'jax'; did you mean"),
    ],
)
def test_what_cannot_be_used_is_refused_at_submission(
    laboratory: "Laboratory", optimizer: dict[str, Any], message: str
) -> None:
    spec = parse_run({"problem": "wine-mlp", "optimizer": optimizer})
    with pytest.raises(InvalidSpec) as refused:
        submit_run(laboratory.store, spec, publish=lambda _: None, settings=laboratory.settings)
    assert message in str(refused.value)
