"""From a spec to what the engine trains, and back: a spec with every default filled in."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from talweg.datasets.sources import loader
from talweg.errors import InvalidSpec
from talweg.spec import Json, OptimizerSpec, ProblemSpec, RunSpec, ScheduleSpec, StudySpec
from talweg_core import Cohort, optimizers, problems, schedules
from talweg_core.errors import EngineError
from talweg_core.optimizers import Optimizer
from talweg_core.problems import Problem
from talweg_core.schedules import Schedule


@contextmanager
def engine_rules() -> Iterator[None]:
    """What the engine refuses in here is an InvalidSpec, in the engine's words."""
    try:
        yield
    except EngineError as error:
        raise InvalidSpec(str(error)) from error


def problem_of(spec: RunSpec | StudySpec) -> Problem:
    """The problem that a spec names or spells out; raises InvalidSpec. Equal ones are made once."""
    return _problem(json.dumps(spec.problem.model_dump(mode="json"), sort_keys=True))


def optimizer_of(spec: OptimizerSpec) -> Optimizer:
    """The optimizer with its hyperparameters; raises InvalidSpec."""
    with engine_rules():
        return optimizers.create(spec.name, **spec.settings)


def schedule_of(spec: ScheduleSpec) -> Schedule:
    """The learning-rate schedule; raises InvalidSpec."""
    with engine_rules():
        return schedules.create(spec.name, **spec.settings)


def cohort_of(specs: Sequence[RunSpec]) -> Cohort:
    """Runs of one problem and one optimizer class, at step 0, a row for each spec; raises InvalidSpec."""
    first = specs[0]
    with engine_rules():
        return Cohort(
            problem_of(first),
            [optimizer_of(spec.optimizer) for spec in specs],
            [spec.seed for spec in specs],
            batch_size=first.batch_size,
            precision=first.precision,
            schedule=[schedule_of(spec.schedule) for spec in specs],
        )


def normalise(spec: RunSpec) -> RunSpec:
    """The spec with every default spelled out, checked by the engine; raises InvalidSpec."""
    return spec.model_copy(update=_shared(spec) | {"optimizer": _filled(spec.optimizer)})


def normalise_study(spec: StudySpec) -> StudySpec:
    """The same for a study: one check a setting, however many seeds; raises InvalidSpec."""
    seeds = spec.seed_list()
    filled = [_filled(optimizer) for optimizer in spec.optimizers]
    names = [json.dumps(optimizer.model_dump(mode="json"), sort_keys=True) for optimizer in filled]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise InvalidSpec(f"optimizers.{position}: each setting must differ from the others, got {name} twice")
    return spec.model_copy(update=_shared(spec) | {"optimizers": filled, "seeds": seeds})


def _shared(spec: RunSpec | StudySpec) -> Json:
    """What a run and a study have in common, with its defaults; the batch is checked against the data."""
    problem, schedule = problem_of(spec), schedule_of(spec.schedule)
    batch_size = spec.batch_size
    if problem.examples:
        batch_size = batch_size or problem.default_batch_size
        if batch_size > problem.examples:
            raise InvalidSpec(
                f"batch_size: must be at most the {problem.examples} training examples of {problem.name}, "
                f"got {batch_size}"
            )
    elif batch_size is not None:
        raise InvalidSpec(f"batch_size: {problem.name} has no examples, so it takes none, got {batch_size}")
    settings = spec.problem.settings | problem.settings()
    return {
        "problem": ProblemSpec(name=spec.problem.name, **settings),
        "schedule": ScheduleSpec(name=spec.schedule.name, **schedule.settings()),
        "batch_size": batch_size,
    }


def _filled(spec: OptimizerSpec) -> OptimizerSpec:
    return OptimizerSpec(name=spec.name, **optimizer_of(spec).settings())


@lru_cache(maxsize=16)
def _problem(text: str) -> Problem:
    settings: Json = json.loads(text)
    # The engine knows datasets by name; which bytes a name stood for, the spec says.
    digest = settings.pop("digest", None) if "dataset" in settings else None
    with engine_rules():
        return problems.create(settings.pop("name", None), datasets=loader(digest), **settings)
