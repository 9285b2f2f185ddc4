"""Problems, optimizers and cohorts built from specs, and specs with every default filled in."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

from talweg.datasets.sources import loader
from talweg.errors import InvalidSpec
from talweg.rules import create
from talweg.spec import Json, OptimizerSpec, ProblemSpec, RunSpec, ScheduleSpec, StudyProblem, StudySpec
from talweg.store import RunRow
from talweg.study_settings import Grid, Range, Search, Target, UntilSettled
from talweg_core import Cohort, problems, schedules
from talweg_core.errors import EngineError
from talweg_core.memory import cohort_bytes
from talweg_core.optimizers import Optimizer
from talweg_core.problems import Problem, suites
from talweg_core.schedules import Schedule


@contextmanager
def engine_rules() -> Iterator[None]:
    """Turn an EngineError of the block into an InvalidSpec with the same message."""
    try:
        yield
    except EngineError as error:
        raise InvalidSpec(str(error)) from error


def problem_of(spec: RunSpec | StudyProblem) -> Problem:
    """The problem that a spec names or describes; raises InvalidSpec. Equal problems are made once."""
    return _problem(json.dumps(spec.problem.model_dump(mode="json"), sort_keys=True))


def problems_of(spec: StudySpec) -> list[Problem]:
    """Every problem of a study, in the study's order; raises InvalidSpec."""
    return [problem_of(own) for own in spec.each_problem()]


def optimizer_of(spec: OptimizerSpec) -> Optimizer:
    """The optimizer with its hyperparameters; raises InvalidSpec. Equal optimizers are made once."""
    return _optimizer(json.dumps(spec.model_dump(mode="json"), sort_keys=True))


def schedule_of(spec: ScheduleSpec) -> Schedule:
    """The learning-rate schedule; raises InvalidSpec."""
    with engine_rules():
        return schedules.create(spec.name, **spec.settings)


def cohort_of(specs: Sequence[RunSpec]) -> Cohort:
    """Runs of one problem and one optimizer class at step 0, one row for each spec; raises InvalidSpec."""
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


def cohort_of_run(run: RunRow) -> Cohort:
    """A cohort of one submitted run, at step 0."""
    return cohort_of([RunSpec.model_validate(run.spec)])


def fitting(spec: RunSpec, memory: int) -> int:
    """How many runs like this one fit into `memory` bytes; raises InvalidSpec where one does not."""

    def bytes_of(runs: int) -> int:
        with engine_rules():
            return cohort_bytes(
                problem_of(spec),
                optimizer_of(spec.optimizer),
                runs,
                batch_size=spec.batch_size,
                precision=spec.precision,
            )

    one, two = bytes_of(1), bytes_of(2)
    if one > memory:
        raise InvalidSpec(
            f"problem: one run takes {one:,} bytes with batches of {spec.batch_size}, and a cohort may take at most "
            f"TALWEG_COHORT_MEMORY, {memory:,}"
        )
    return 1 + (memory - one) // max(two - one, 1)


def normalise(spec: RunSpec) -> RunSpec:
    """The spec with every default filled in, checked by the engine; raises InvalidSpec."""
    problem, batch_size = _on_its_problem(spec, [optimizer_of(spec.optimizer)])
    return spec.model_copy(
        update={
            "problem": problem,
            "batch_size": batch_size,
            "schedule": _schedule(spec.schedule),
            "optimizer": _filled(spec.optimizer),
        }
    )


def normalise_study(spec: StudySpec) -> StudySpec:
    """The study spec with every default filled in; each setting is checked once for all seeds. Raises InvalidSpec."""
    spec = _with_suite(spec)
    seeds = spec.seed_list()
    # Before points are drawn and runs listed: a spec of a few bytes can name a thousand million runs.
    spec.size()
    filled = [_filled(optimizer) for optimizer in spec.optimizers]
    names = [json.dumps(optimizer.model_dump(mode="json"), sort_keys=True) for optimizer in filled]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise InvalidSpec(f"optimizers.{position}: each setting must differ from the others, got {name} twice")
    return spec.model_copy(
        update={
            **_on_its_problems(spec),
            **_tuning(spec, filled, len(seeds)),
            "schedule": _schedule(spec.schedule),
            "optimizers": filled,
            "seeds": seeds,
        }
    )


def _on_its_problems(spec: StudySpec) -> Json:
    """`problem` and `batch_size` of a study of one problem; of a study of several, `problems`."""
    rules = [optimizer_of(optimizer) for optimizer in spec.optimizers]
    filled = []
    for own in spec.each_problem():
        problem, batch_size = _on_its_problem(own, rules)
        filled.append(own.model_copy(update={"problem": problem, "batch_size": batch_size}))
    if not spec.problems:
        return {"problem": filled[0].problem, "batch_size": filled[0].batch_size}
    if len(filled) != len({problem.model_dump_json(include={"problem"}) for problem in filled}):
        raise InvalidSpec("problems: each must differ from the others")
    return {"problems": filled}


def _with_suite(spec: StudySpec) -> StudySpec:
    """The spec with the problems of its suite filled in; raises InvalidSpec where others stand beside it.

    Its own problems do: a stored spec may be submitted again.
    """
    if spec.suite is None:
        return spec
    with engine_rules():
        entries = suites.suite(spec.suite)
    for name in ("steps", "batch_size", "evaluate_every", "target"):
        if (asked := getattr(spec, name)) != StudySpec.model_fields[name].get_default():
            shown = asked.model_dump() if isinstance(asked, Target) else asked
            raise InvalidSpec(f"{name}: each problem of the suite {spec.suite!r} has its own, got {shown}")
    filled = [
        StudyProblem(
            problem=ProblemSpec(name=entry.problem, **entry.settings),
            steps=entry.steps,
            batch_size=entry.batch_size,
            evaluate_every=entry.evaluate_every,
            target=Target(cost=entry.target),
        )
        for entry in entries
    ]
    if spec.problem is not None or spec.problems:
        beside = "problem" if spec.problem is not None else "problems"
        own = [] if spec.problem is not None else [_with_settings(problem) for problem in spec.problems]
        if own != [_with_settings(problem) for problem in filled]:
            raise InvalidSpec(
                f"{beside}: must not stand beside a suite, which names the problems itself, got suite {spec.suite!r}"
            )
    return spec.model_copy(update={"problems": filled})


def _with_settings(own: StudyProblem) -> StudyProblem:
    """The problem's own settings filled in."""
    settings = own.problem.settings | problem_of(own).settings()
    return own.model_copy(update={"problem": ProblemSpec(name=own.problem.name, **settings)})


def _check_until_settled(spec: StudySpec, until: UntilSettled, seeds: int) -> None:
    if spec.protocol != "fixed":
        raise InvalidSpec(f"until_settled: belongs to the protocol 'fixed', got {spec.protocol!r}")
    if len(spec.optimizers) < 2:
        raise InvalidSpec("until_settled: needs at least two optimizers, got 1")
    if seeds > until.at_most:
        raise InvalidSpec(f"until_settled.at_most: must be at least the study's {seeds} seeds, got {until.at_most}")


def _tuning(spec: StudySpec, optimizers: Sequence[OptimizerSpec], seeds: int) -> Json:
    """The protocol's settings with defaults and points; raises InvalidSpec where an optimizer cannot use them."""
    for protocol in ("grid", "search"):
        if getattr(spec, protocol) is not None and spec.protocol != protocol:
            raise InvalidSpec(f"{protocol}: belongs to the protocol {protocol!r}, got {spec.protocol!r}")
    if spec.until_settled is not None:
        _check_until_settled(spec, spec.until_settled, seeds)
    if spec.protocol == "grid":
        grid = spec.grid or Grid()
        _check(optimizers, {"learning_rate": Range(low=grid.low, high=grid.high)}, "grid")
        return {"grid": grid.model_copy(update={"seeds": spec.tuning_seed_list()})}
    if spec.protocol == "search":
        search = spec.search or Search()
        _check(optimizers, search.space, "search.space")
        points = draw_points(search, seeds) if search.points is None else search.points
        if [len(own) for own in points] != [search.begins - 1] * seeds:
            raise InvalidSpec(f"search.points: must be {search.begins - 1} for each of {seeds} seeds")
        _check_rungs(spec, search)
        return {"search": search.model_copy(update={"points": points})}
    return {}


def _check(optimizers: Sequence[OptimizerSpec], space: Mapping[str, Range], where: str) -> None:
    """Raise InvalidSpec unless each optimizer has one of the hyperparameters, and accepts both ends of its range."""
    for optimizer in optimizers:
        own = [name for name in space if name in optimizer.settings]
        if not own:
            raise InvalidSpec(f"{where}: {optimizer.name} has none of {', '.join(space)}, so nothing would be tuned")
        for name in own:
            for end in (space[name].low, space[name].high):
                optimizer_of(OptimizerSpec(name=optimizer.name, **(optimizer.settings | {name: end})))


def _check_rungs(spec: StudySpec, search: Search) -> None:
    """Raise InvalidSpec unless there is at least one step between two rungs."""
    least = min(own.steps or spec.steps for own in spec.each_problem())
    if search.pruning is not None and least < (needed := search.pruning.factor**search.pruning.rungs):
        raise InvalidSpec(f"search.pruning: needs at least factor^rungs = {needed:,} steps, got {least:,}")


def _schedule(spec: ScheduleSpec) -> ScheduleSpec:
    return ScheduleSpec(name=spec.name, **schedule_of(spec).settings())


def _on_its_problem(spec: RunSpec | StudyProblem, rules: Sequence[Optimizer]) -> tuple[ProblemSpec, int | None]:
    """The problem with its settings, and the batch size, checked against the data."""
    problem = problem_of(spec)
    batch_size = batch_size_for(problem, rules, spec.batch_size)
    return ProblemSpec(name=spec.problem.name, **(spec.problem.settings | problem.settings())), batch_size


def _filled(spec: OptimizerSpec) -> OptimizerSpec:
    return OptimizerSpec(name=spec.name, **optimizer_of(spec).settings())


# Searching the installed packages for plug-ins takes milliseconds, as long as a replay.
@lru_cache(maxsize=4096)
def _optimizer(text: str) -> Optimizer:
    settings: Json = json.loads(text)
    with engine_rules():
        return create(settings.pop("name"), **settings)


@lru_cache(maxsize=16)
def _problem(text: str) -> Problem:
    settings: Json = json.loads(text)
    # The engine knows datasets by name only; the spec's digest says which data the name stood for.
    digest = settings.pop("digest", None) if "dataset" in settings else None
    with engine_rules():
        return problems.create(settings.pop("name", None), datasets=loader(digest), **settings)


def batch_size_for(problem: Problem, rules: Sequence[Optimizer], asked: int | None) -> int | None:
    """The batch size asked for; else all examples where every rule needs them, else the problem's default.

    Raises:
        InvalidSpec: It is more than the training examples, fewer than a rule needs, or given for a problem without
            examples.
    """
    if not problem.examples:
        if asked is not None:
            raise InvalidSpec(f"batch_size: {problem.name} has no examples, so it takes no batch size, got {asked}")
        return None
    default = problem.examples if all(rule.full_batch for rule in rules) else problem.default_batch_size
    batch_size = asked or default
    if batch_size > problem.examples:
        raise InvalidSpec(
            f"batch_size: must be at most the {problem.examples} training examples of {problem.name}, got {batch_size}"
        )
    for rule in rules:
        # A cohort refuses it too, but only in the worker.
        if rule.full_batch and batch_size < problem.examples:
            raise InvalidSpec(
                f"{rule.name}: batch_size must be all {problem.examples} training examples, got {batch_size}"
            )
    return batch_size


def draw_points(search: Search, seeds: int) -> list[list[dict[str, float]]]:
    """For each seed, one point of the search space for each of its first trials except the first trial.

    The points are those of one scrambled Halton sequence, continued from seed to seed: each seed's points, and all
    points together, fill the space evenly.

    Source: Bousquet, Gelly, Kurach, Teytaud, Vincent, "Critical Hyper-Parameters: No Random, No Cry", 2017; Owen, "A
    randomized Halton algorithm in R", 2017.
    """
    each = search.begins - 1
    if not each:
        return [[] for _ in range(seeds)]
    # scipy.stats takes half a second to import, and only searches need it.
    from scipy.stats import qmc

    shares = qmc.Halton(len(search.space), scramble=True, rng=search.seed).random(seeds * each).tolist()
    points = [
        {name: whole.at(share) for (name, whole), share in zip(search.space.items(), row, strict=True)}
        for row in shares
    ]
    return [points[i * each : (i + 1) * each] for i in range(seeds)]
