"""What users write and the API accepts: RunSpec and StudySpec.

Only form is checked here (types, signs, unknown keys). What the engine alone knows (names of problems and
optimizers, ranges, shapes) is checked at submission, which also fills in every default.
"""

import difflib
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from talweg.errors import InvalidSpec

Json = dict[str, Any]

MAXIMUM_STEPS = 100_000_000
MAXIMUM_SEEDS = 10_000


def _named(value: object) -> object:
    """`"adam"` is short for `{"name": "adam"}`."""
    return {"name": value} if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f/\\]+$")]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants")


class _Open(BaseModel):
    """A name and whatever settings the engine knows under it."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    name: Name

    @property
    def settings(self) -> Json:
        """Everything but the name."""
        return dict(self.model_extra or {})


class OptimizerSpec(_Open):
    """An optimizer by name, with its hyperparameters beside the name."""


class ScheduleSpec(_Open):
    """A learning-rate schedule by name, with its settings beside the name."""


class ProblemSpec(BaseModel):
    """A problem of the catalogue by name with its settings, or one spelled out: dataset, network, cost."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    name: Name | None = None

    @property
    def settings(self) -> Json:
        """Everything but the name."""
        return dict(self.model_extra or {})


Precision = Literal["float32", "float64"]
Record = Literal["auto", "full", "replay"]
OptimizerLike = Annotated[OptimizerSpec, BeforeValidator(_named)]
ScheduleLike = Annotated[ScheduleSpec, BeforeValidator(_named)]
ProblemLike = Annotated[ProblemSpec, BeforeValidator(_named)]


class _Training(_Spec):
    problem: ProblemLike
    schedule: ScheduleLike = ScheduleSpec(name="constant")
    # None: the problem's own.
    batch_size: int | None = Field(None, ge=1)
    steps: int = Field(500, ge=1, le=MAXIMUM_STEPS)
    precision: Precision = "float32"
    # Steps between evaluations on the validation split; 0 evaluates at the end only.
    evaluate_every: int = Field(50, ge=0)
    record: Record = "auto"
    name: Name | None = None


class RunSpec(_Training):
    """One problem, one optimizer setting, one seed."""

    optimizer: OptimizerLike
    seed: int = Field(0, ge=0, lt=2**63)

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON, without the name: equal specs have equal digests."""
        return _digest(self.model_dump(mode="json", exclude={"name"}))


class StudySpec(_Training):
    """Runs compared under one protocol: every optimizer setting with every seed."""

    protocol: Literal["fixed"] = "fixed"
    optimizers: list[OptimizerLike] = Field(min_length=1, max_length=1000)
    # A count n stands for the seeds 0 … n − 1.
    seeds: int | list[Annotated[int, Field(ge=0, lt=2**63)]] = 5

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON, without the name."""
        return _digest(self.model_dump(mode="json", exclude={"name"}))

    def seed_list(self) -> list[int]:
        """The seeds, spelled out; InvalidSpec where there are none, too many, or one twice."""
        # Counted before they are spelled out: a count costs a few bytes to send, its list does not.
        count = self.seeds if isinstance(self.seeds, int) else len(self.seeds)
        if not 1 <= count <= MAXIMUM_SEEDS:
            raise InvalidSpec(f"seeds: there must be 1 to {MAXIMUM_SEEDS} of them, got {count}")
        seeds = list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds
        if len(set(seeds)) != len(seeds):
            raise InvalidSpec(f"seeds: each must differ from the others, got {seeds}")
        return seeds

    def runs(self) -> list[RunSpec]:
        """Every run of the study, by optimizer setting, then by seed."""
        shared = self.model_dump(exclude={"protocol", "optimizers", "seeds", "name"})
        return [
            RunSpec.model_validate(shared | {"optimizer": optimizer.model_dump(), "seed": seed})
            for optimizer in self.optimizers
            for seed in self.seed_list()
        ]


class ForkSpec(_Spec):
    """Another run's history up to `step`, and how it goes on; what is left out is as in that run."""

    step: int = Field(ge=0, le=MAXIMUM_STEPS)
    optimizer: OptimizerLike | None = None
    schedule: ScheduleLike | None = None
    batch_size: int | None = Field(None, ge=1)
    # As in a RunSpec: all of them, those before `step` counted.
    steps: int | None = Field(None, ge=1, le=MAXIMUM_STEPS)
    evaluate_every: int | None = Field(None, ge=0)
    record: Record | None = None
    # The optimizer's: carried over, or as at its beginning. None: carried where the rule is the same.
    state: Literal["carried", "fresh"] | None = None
    name: Name | None = None


class ResumeSpec(_Spec):
    """How many steps an ended run is to have; None: those that it was asked for."""

    steps: int | None = Field(None, ge=1, le=MAXIMUM_STEPS)


S = TypeVar("S", bound=_Spec)


def _digest(value: Json) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def parse_run(value: Json) -> RunSpec:
    """A RunSpec from plain data; raises InvalidSpec that names the key, the rule and the value."""
    return _parse(RunSpec, value)


def parse_study(value: Json) -> StudySpec:
    """A StudySpec from plain data; raises InvalidSpec that names the key, the rule and the value."""
    return _parse(StudySpec, value)


def parse_fork(value: Json) -> ForkSpec:
    """A ForkSpec from plain data; raises InvalidSpec that names the key, the rule and the value."""
    return _parse(ForkSpec, value)


def parse_resume(value: Json) -> ResumeSpec:
    """A ResumeSpec from plain data; raises InvalidSpec that names the key, the rule and the value."""
    return _parse(ResumeSpec, value)


def read_spec(path: Path) -> RunSpec | StudySpec:
    """The spec that a JSON file holds, a study where it has `optimizers`; raises InvalidSpec."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSpec(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidSpec(f"{path}: must be JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidSpec(f"{path}: must hold a JSON object, got {type(value).__name__}")
    return parse_study(value) if "optimizers" in value else parse_run(value)


def _parse(kind: type[S], value: Json) -> S:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise InvalidSpec("; ".join(_rule(kind, problem) for problem in error.errors())) from None
    except RecursionError:
        raise InvalidSpec("spec: is nested too deeply") from None


def _rule(kind: type[_Spec], problem: Any) -> str:
    """One line for one broken rule: where, the rule, the value received, the nearest valid key."""
    where = ".".join(str(part) for part in problem["loc"]) or "spec"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where, kind.model_fields, n=1)
        return f"{where}: is not a key of {kind.__name__}" + (f"; did you mean {near[0]!r}?" if near else "")
    if problem["type"] == "missing":
        return f"{where}: is required"
    received = repr(problem["input"])
    received = received if len(received) <= 80 else received[:77] + "..."
    return f"{where}: {message[0].lower()}{message[1:]}" + ("" if received in message else f", got {received}")
