"""The example with pytorch_optimizer's optimizers is a valid study, and each of them makes steps on each problem."""

from pathlib import Path

import numpy as np

from talweg.records import cohort_of, normalise_study
from talweg.spec import StudySpec, read_spec
from talweg_core import optimizers

EXAMPLE = Path(__file__).parents[2] / "examples" / "every_optimizer.yaml"


def test_every_optimizer_of_the_example_makes_steps() -> None:
    spec = read_spec(EXAMPLE)
    assert isinstance(spec, StudySpec)
    planned = normalise_study(spec).planned()
    assert len(planned) == 2196
    ours = {one.name for one in spec.optimizers if ":" not in one.name}
    assert ours == {name for name in optimizers.names() if name != "lbfgs"}
    assert len(spec.optimizers) == len(ours) + 30
    for each in planned:
        if each.trial == 0 and each.spec.seed == 0 and each.problem == 2:
            cohort = cohort_of([each.spec])
            start = cohort.parameters.copy()
            for _ in cohort.run(3):
                pass
            assert np.isfinite(cohort.parameters).all()
            assert (cohort.parameters != start).any(), each.spec.optimizer.name
