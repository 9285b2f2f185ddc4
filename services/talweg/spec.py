"""The specs that users write and the API accepts: RunSpec, StudySpec, ForkSpec, ResumeSpec.

Only the form is checked here (types, signs, unknown keys). The engine checks names of problems and optimizers, ranges
and shapes at submission, which also fills in every default.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from talweg.errors import InvalidSpec
from talweg.study_settings import (
    ALPHA,
    Clock,
    Grid,
    Part,
    Protocol,
    Search,
    Seed,
    Target,
    UntilSettled,
    enough_seeds,
    without_defaults,
)
from talweg.validation import NAME, from_yaml, parse

Json = dict[str, Any]

MAXIMUM_STEPS = 100_000_000
MAXIMUM_SEEDS = 10_000
MAXIMUM_RUNS = 100_000


def _named(value: object) -> object:
    """`"adam"` is short for `{"name": "adam"}`."""
    return {"name": value} if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1, max_length=200, pattern=NAME)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants")


class _Open(BaseModel):
    """A name with any settings; the engine checks them."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    name: Name | None

    @property
    def settings(self) -> Json:
        """Everything but the name."""
        return dict(self.model_extra or {})


class OptimizerSpec(_Open):
    """An optimizer: its name and hyperparameters."""

    name: Name


class ScheduleSpec(_Open):
    """A learning-rate schedule: its name and settings."""

    name: Name


class ProblemSpec(_Open):
    """A problem: the name and settings of a catalogue entry, or dataset, network and cost."""

    name: Name | None = None


Precision = Literal["float32", "float64"]
Record = Literal["auto", "full", "replay"]
OptimizerLike = Annotated[OptimizerSpec, BeforeValidator(_named)]
ScheduleLike = Annotated[ScheduleSpec, BeforeValidator(_named)]
ProblemLike = Annotated[ProblemSpec, BeforeValidator(_named)]


class _Training(_Spec):
    schedule: ScheduleLike = ScheduleSpec(name="constant")
    # None: the problem's default.
    batch_size: int | None = Field(None, ge=1)
    steps: int = Field(500, ge=1, le=MAXIMUM_STEPS)
    precision: Precision = "float32"
    # Steps between evaluations on the validation split; 0 evaluates at the end only.
    evaluate_every: int = Field(50, ge=0)
    record: Record = "auto"
    # Limit of a run's training time: its share of its cohort's time for gradients and updates. Added later: omitted
    # where it is None, so that earlier specs keep their digests.
    max_seconds: float | None = Field(None, gt=0, exclude_if=lambda value: value is None)
    name: Name | None = None


class RunSpec(_Training):
    """One problem, one optimizer setting, one seed."""

    problem: ProblemLike
    optimizer: OptimizerLike
    seed: int = Field(0, ge=0, lt=2**63)

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON, without the name: equal specs have equal digests."""
        return _digest(self.model_dump(mode="json", exclude={"name"}))


class StudyProblem(Part):
    """One of several problems, with its own settings; None stands for the study's setting."""

    problem: ProblemLike
    steps: int | None = Field(None, ge=1, le=MAXIMUM_STEPS)
    batch_size: int | None = Field(None, ge=1)
    evaluate_every: int | None = Field(None, ge=0)
    target: Target | None = None


def _problem_alone(value: object) -> object:
    """`"rosenbrock"` and `{"name": "rosenbrock", "start": […]}` are short for `{"problem": …}`."""
    if isinstance(value, StudyProblem) or (isinstance(value, Mapping) and "problem" in value):
        return value
    return {"problem": value}


Stage = Literal["tuning", "final"]


@dataclass(frozen=True)
class Planned:
    """A run with its part in a study; `problem` and `optimizer` are positions in the spec.

    Runs of the stage "tuning" select settings and are not results. `trial` numbers the trials of a search, from 0.
    `until` is the step of the first comparison with other trials; None: the run makes all its steps.
    """

    spec: RunSpec
    problem: int
    optimizer: int
    stage: Stage = "final"
    trial: int | None = None
    until: int | None = None

    @property
    def part(self) -> Json:
        """The part that is stored with the run, as plain data."""
        return {name: value for name, value in vars(self).items() if name not in ("spec", "until")}


def _kind_of_seeds(value: object) -> str | None:
    """Which of the three kinds it is, so that an error names only that one."""
    if value == "auto":
        return "auto"
    return "list" if isinstance(value, list | tuple) else "count" if isinstance(value, int) else None


Seeds = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[int, Tag("count")] | Annotated[list[Seed], Tag("list")],
    Discriminator(
        _kind_of_seeds,
        custom_error_type="seeds",
        custom_error_message='must be "auto", how many (10) or which ([0, 7, 11])',
    ),
]

# Added after the first studies were stored: omitted at their defaults, so that those keep their digests.
_LATER = ("problems", "suite", "grid", "search", "until_settled", "target", "clock")


class StudySpec(_Training):
    """Runs compared under one protocol, on one or several problems."""

    protocol: Protocol = "fixed"
    problem: ProblemLike | None = None
    problems: list[Annotated[StudyProblem, BeforeValidator(_problem_alone)]] = Field(
        default_factory=list, max_length=100
    )
    # A named list of problems with their steps and targets, in place of `problem` and `problems`; submission fills
    # `problems` in from it, and it stays beside them.
    suite: Name | None = None
    optimizers: list[OptimizerLike] = Field(min_length=1, max_length=1000)
    # A number n stands for the seeds 0 … n − 1; "auto" for enough to settle every comparison, and at least 10.
    seeds: Seeds = "auto"
    grid: Grid | None = None
    search: Search | None = None
    until_settled: UntilSettled | None = None
    target: Target | None = None
    # The unit of the budget when results are compared.
    clock: Clock = "steps"

    @property
    def content(self) -> Json:
        """The JSON that is stored."""
        return without_defaults(StudySpec, self.model_dump(mode="json"), _LATER)

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON, without the name."""
        return _digest({key: value for key, value in self.content.items() if key != "name"})

    @property
    def staged(self) -> bool:
        """Whether more runs follow after the first ones end."""
        return self.protocol == "grid" or self.adaptive or self.until_settled is not None

    @property
    def adaptive(self) -> bool:
        """Whether it is a search whose trials depend on earlier trials."""
        return self.protocol == "search" and self.search is not None and self.search.adaptive

    def each_problem(self) -> list[StudyProblem]:
        """Every problem, with steps, batch size, evaluation and target filled in from the study; at least one."""
        if (self.problem is None) == (not self.problems):
            raise InvalidSpec("problem: a study has one problem, or several as problems, and not both")
        own = self.problems or [StudyProblem(problem=self.problem or ProblemSpec())]
        shared = {name: getattr(self, name) for name in ("steps", "batch_size", "evaluate_every", "target")}
        return [
            problem.model_copy(update={name: v for name, v in shared.items() if getattr(problem, name) is None})
            for problem in own
        ]

    def problem_names(self) -> list[str]:
        """A unique name for each problem: its own, numbered where several have the same."""
        return _numbered([_called(own.problem) for own in self.each_problem()], "-")

    def optimizer_names(self) -> list[str]:
        """A unique name for each optimizer: its own, numbered where several have the same."""
        return _numbered([optimizer.name for optimizer in self.optimizers], "")

    def seed_list(self) -> list[int]:
        """The seeds as a list; raises InvalidSpec for none, too many or a repeated one."""
        seeds = self._auto() if self.seeds == "auto" else self.seeds
        return _spelled_out("seeds", seeds, list(range(seeds)) if isinstance(seeds, int) and _few(seeds) else None)

    def _auto(self) -> int:
        enough = enough_seeds(len(self.optimizers))
        if self.until_settled is None:
            return enough
        # With several looks each needs a smaller p, and so more seeds.
        looks = len(self.until_settled.looks(enough))
        return min(enough_seeds(len(self.optimizers), alpha=ALPHA / looks), self.until_settled.at_most)

    def looks(self) -> list[int]:
        """The numbers of seeds after which the study is judged."""
        first = len(self.seed_list())
        return [first] if self.until_settled is None else self.until_settled.looks(first)

    def tuning_seed_list(self) -> list[int]:
        """The seeds for tuning; raises InvalidSpec where one of them is also in `seeds`."""
        grid, judged = self.grid or Grid(), self.seed_list()
        tuning = _spelled_out("grid.seeds", grid.seeds, grid.tuning_seeds(judged) if _few(grid.seeds) else None)
        if shared := sorted(set(tuning) & set(judged)):
            raise InvalidSpec(f"grid.seeds: must not be among the study's seeds, got {shared} in both")
        return tuning

    def size(self) -> int:
        """The number of runs in all stages; raises InvalidSpec for more than MAXIMUM_RUNS."""
        each = self.looks()[-1]
        if self.protocol == "grid":
            each += (self.grid or Grid()).points * len(self.tuning_seed_list())
        elif self.protocol == "search":
            each *= (self.search or Search()).trials
        runs = len(self.each_problem()) * len(self.optimizers) * each
        if runs > MAXIMUM_RUNS:
            raise InvalidSpec(f"study: may have at most {MAXIMUM_RUNS:,} runs, got {runs:,}")
        return runs

    def runs(self) -> list[RunSpec]:
        """The first runs of the study, in the order of `planned`."""
        return [planned.spec for planned in self.planned()]

    def planned(self) -> list[Planned]:
        """The first runs of the study: by problem, then by optimizer setting, then by seed.

        A grid starts with its tuning. Raises InvalidSpec where a search has no points yet.
        """
        return list(self._planned())

    def final(
        self, problem: int, optimizer: int, setting: OptimizerSpec, seeds: Sequence[int] | None = None
    ) -> list[Planned]:
        """The runs of the stage "final" of a setting, with the study's seeds or with others."""
        seeds = self.seed_list() if seeds is None else seeds
        return [Planned(self._run(problem, setting, seed), problem, optimizer) for seed in seeds]

    def _planned(self) -> Iterator[Planned]:
        for problem in range(len(self.each_problem())):
            for position, optimizer in enumerate(self.optimizers):
                if self.protocol == "grid":
                    for rate in (self.grid or Grid()).learning_rates():
                        setting = with_values(optimizer, {"learning_rate": rate})
                        for seed in self.tuning_seed_list():
                            yield Planned(self._run(problem, setting, seed), problem, position, "tuning")
                elif self.protocol == "search":
                    for seed, trials in zip(self.seed_list(), self._settings(optimizer), strict=True):
                        for trial, setting in enumerate(trials):
                            yield self.trial(problem, position, seed, trial, setting)
                else:
                    yield from self.final(problem, position, optimizer)

    def trial(self, problem: int, optimizer: int, seed: int, trial: int, setting: OptimizerSpec) -> Planned:
        """One trial of a search."""
        spec = self._run(problem, setting, seed)
        pruning = self.search.pruning if self.search is not None else None
        until = None if pruning is None else pruning.stops(spec.steps)[0]
        return Planned(spec, problem, optimizer, "final", trial, until)

    def _settings(self, optimizer: OptimizerSpec) -> list[list[OptimizerSpec]]:
        """For each seed, the settings of the optimizer's trials."""
        search = self.search or Search()
        points = search.points if search.begins > 1 else [[]] * len(self.seed_list())
        if points is None:
            raise InvalidSpec("search.points: must be drawn before the study has runs")
        return [[optimizer, *(with_values(optimizer, point) for point in own)] for own in points]

    def _run(self, problem: int, optimizer: OptimizerSpec, seed: int) -> RunSpec:
        own = self.each_problem()[problem]
        return RunSpec.model_validate(
            {
                "schedule": self.schedule.model_dump(),
                "precision": self.precision,
                "record": self.record,
                "problem": own.problem.model_dump(),
                "steps": own.steps,
                "batch_size": own.batch_size,
                "evaluate_every": own.evaluate_every,
                "optimizer": optimizer.model_dump(),
                "seed": seed,
                "max_seconds": self.max_seconds,
            }
        )


def with_values(optimizer: OptimizerSpec, values: Mapping[str, float]) -> OptimizerSpec:
    """The optimizer with the values that are hyperparameters of it; its defaults must be filled in."""
    own = {name: value for name, value in values.items() if name in optimizer.settings}
    return OptimizerSpec(name=optimizer.name, **(optimizer.settings | own))


def _called(problem: ProblemSpec) -> str:
    return problem.name or str(problem.settings.get("dataset", "problem"))


def _numbered(names: list[str], separator: str) -> list[str]:
    """The names, each that occurs more than once with its number: a-1, b, a-2."""
    return [
        # A digit after mine@3f2a91 would look like part of the digest.
        name
        if names.count(name) == 1
        else f"{name}{separator if name.isidentifier() else '-'}{names[: position + 1].count(name)}"
        for position, name in enumerate(names)
    ]


def _few(seeds: int | list[int]) -> bool:
    # Check the number before making the list: a short request must not create a long list.
    return isinstance(seeds, int) and 1 <= seeds <= MAXIMUM_SEEDS


def _spelled_out(where: str, seeds: int | list[int], counted: list[int] | None) -> list[int]:
    count = seeds if isinstance(seeds, int) else len(seeds)
    if not 1 <= count <= MAXIMUM_SEEDS:
        raise InvalidSpec(f"{where}: there must be 1 to {MAXIMUM_SEEDS} of them, got {count}")
    found = counted if isinstance(seeds, int) and counted is not None else seeds
    assert not isinstance(found, int)
    if len(set(found)) != len(found):
        raise InvalidSpec(f"{where}: each must differ from the others, got {found}")
    return found


class ForkSpec(_Spec):
    """A fork: the parent's history before `step`, and changed settings; omitted settings are the parent's."""

    step: int = Field(ge=0, le=MAXIMUM_STEPS)
    optimizer: OptimizerLike | None = None
    schedule: ScheduleLike | None = None
    batch_size: int | None = Field(None, ge=1)
    # The total, which includes the steps before `step`.
    steps: int | None = Field(None, ge=1, le=MAXIMUM_STEPS)
    evaluate_every: int | None = Field(None, ge=0)
    record: Record | None = None
    # For its own steps only, those from `step` on.
    max_seconds: float | None = Field(None, gt=0)
    # The optimizer's state: the parent's or the initial one. None: the parent's where the rule is the same.
    state: Literal["carried", "fresh"] | None = None
    name: Name | None = None


class ResumeSpec(_Spec):
    """The new number of steps of an ended run; None: the number of its spec.

    `max_seconds` is a new limit of its whole training time; without it, a limit that the run has reached is removed.
    """

    steps: int | None = Field(None, ge=1, le=MAXIMUM_STEPS)
    max_seconds: float | None = Field(None, gt=0)


def _digest(value: Json) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def parse_run(value: Json) -> RunSpec:
    """A RunSpec from plain data; raises InvalidSpec with the key, the rule and the value."""
    return parse(RunSpec, value)


def parse_study(value: Json) -> StudySpec:
    """A StudySpec from plain data; raises InvalidSpec with the key, the rule and the value."""
    return parse(StudySpec, value)


def parse_fork(value: Json) -> ForkSpec:
    """A ForkSpec from plain data; raises InvalidSpec with the key, the rule and the value."""
    return parse(ForkSpec, value)


def parse_resume(value: Json) -> ResumeSpec:
    """A ResumeSpec from plain data; raises InvalidSpec with the key, the rule and the value."""
    return parse(ResumeSpec, value)


def read_spec(path: Path) -> RunSpec | StudySpec:
    """The spec in a JSON or YAML file; a StudySpec where it has `optimizers`. Raises InvalidSpec."""
    yaml = path.suffix.lower() in (".yaml", ".yml")
    try:
        text = path.read_text(encoding="utf-8")
        value = from_yaml(text) if yaml else json.loads(text)
    except OSError as error:
        raise InvalidSpec(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidSpec(f"{path}: must be {'YAML' if yaml else 'JSON'}: {error}") from error
    if not isinstance(value, dict):
        raise InvalidSpec(f"{path}: must hold {'a mapping' if yaml else 'a JSON object'}, got {type(value).__name__}")
    return parse_study(value) if "optimizers" in value else parse_run(value)
