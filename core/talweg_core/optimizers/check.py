"""Check an optimizer's contract by running it: what `talweg check` prints, each mistake with a name and a line."""

import ast
import datetime as dt
import linecache
import random
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.cohort import Cohort
from talweg_core.layout import Layout
from talweg_core.optimizers.adam import Adam
from talweg_core.optimizers.base import Flags, Hyperparameters, Interval, Numbers, Optimizer, Situation
from talweg_core.optimizers.brought import filename_of, try_out
from talweg_core.problems import create
from talweg_core.problems.base import Problem
from talweg_core.schedules import Cosine, Schedule

STEPS = 12
# Of the quadratic: a sum of squares in four coordinates with curvatures from 1 to 10.
LONG = 1500
NEAR = 1e-2
RATES = (1.0, 10.0, 0.1, 0.01, 100.0, 1e-3)
DAY = 86_400.0
_CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time")


@dataclass(frozen=True)
class Finding:
    """The result of one check: its name, whether the optimizer passed, what was seen, and the line to look at."""

    name: str
    passed: bool
    sentence: str
    line: str = ""


@dataclass(frozen=True)
class Cost:
    """Microseconds of one step of one run, for this optimizer and for Adam, in cohorts of `runs` runs."""

    runs: int
    own: float
    adam: float

    @property
    def ratio(self) -> float:
        """Times Adam's."""
        return self.own / self.adam


class Mistake(Exception):
    """A check that failed: what was seen, and a pattern that finds the line in the source."""

    def __init__(self, sentence: str, pattern: str = "", line: str = "") -> None:
        super().__init__(sentence)
        self.pattern, self.line = pattern, line


def check(kind: type[Optimizer], names: Collection[str] | None = None) -> list[Finding]:
    """Every check of an optimizer, or those of the names; only the first one where it cannot make a step."""
    source = Source(kind)
    found = [_finding(source, "contract", _contract, kind)]
    if not found[0].passed:
        text = found[0].sentence
        if "read-only" in text:
            said = "the rule changes the gradient in place, which is recorded after the update: " + text
            return [Finding("gradient", False, said, found[0].line)]
        return found
    chosen = {name: function for name, function in CHECKS.items() if names is None or name in names}
    return found + [_finding(source, name, function, kind) for name, function in chosen.items()]


def _finding(source: "Source", name: str, function: Callable[[type[Optimizer]], str], kind: type[Optimizer]) -> Finding:
    try:
        with np.errstate(all="ignore"):
            return Finding(name, True, function(kind))
    except Mistake as mistake:
        return Finding(name, False, str(mistake), mistake.line or source.find(mistake.pattern))
    # A rule may raise anything.
    except Exception as error:  # noqa: BLE001
        return Finding(name, False, str(error), source.raised(error))


class Source:
    """The text of a class, in which a check looks for the line of a mistake."""

    def __init__(self, kind: type[Optimizer]) -> None:
        self.filename = filename_of(kind)
        self.lines = [line.rstrip() for line in linecache.getlines(self.filename)]

    def find(self, pattern: str) -> str:
        """The first line that the pattern matches, without comments; empty where none does."""
        for line in self.lines:
            if pattern and re.search(pattern, line.partition("#")[0]):
                return line.strip()
        return ""

    def raised(self, error: BaseException) -> str:
        """The line of this file that an error passed last."""
        trace, last = error.__cause__.__traceback__ if error.__cause__ else error.__traceback__, ""
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self.filename:
                last = linecache.getline(self.filename, trace.tb_lineno).strip()
            trace = trace.tb_next
        return last

    def hidden_state(self) -> str:
        """The line that assigns to an attribute of the rule outside of __init__, or to a global variable."""
        for node in ast.walk(ast.parse("\n".join(self.lines))):
            if isinstance(node, ast.FunctionDef) and node.name != "__init__":
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Global) or _keeps(inner):
                        return self.lines[inner.lineno - 1].strip()  # type: ignore[attr-defined]  # a statement
        return ""


def _keeps(node: ast.AST) -> bool:
    """Whether the statement assigns to an attribute, other than state and parameters."""
    if not isinstance(node, ast.Assign | ast.AugAssign):
        return False
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    bases = [target.value if isinstance(target, ast.Subscript) else target for target in targets]
    return any(isinstance(base, ast.Attribute) and base.attr not in ("state", "parameters") for base in bases)


def _problem() -> Problem:
    return create("wine-mlp")


def _made(kind: type[Optimizer], share: float) -> Optimizer:
    """The optimizer with each of its numbers changed by a share of its value, inside the range."""
    changed: dict[str, Any] = {}
    for field in kind.ranged():
        allowed, value = field.metadata["range"], field.default
        if isinstance(allowed, Interval) and not field.metadata.get("shared") and not allowed.whole:
            moved = float(kind().settings()[field.name]) * (1 - 0.3 * share)
            changed[field.name] = moved if moved in allowed else value
    return kind(**changed)


def _run(rules: Sequence[Optimizer], seeds: Sequence[int], steps: int = STEPS, **settings: Any) -> Cohort:
    cohort = Cohort(_problem(), rules, seeds, **settings)
    for _ in cohort.run(steps):
        pass
    return cohort


def _same(one: Cohort, row: int, other: Cohort, at: int) -> bool:
    return one.checkpoint(row) == other.checkpoint(at)


def _contract(kind: type[Optimizer]) -> str:
    try_out(kind)
    return "it makes steps on a small problem, in float32"


def _precision(kind: type[Optimizer]) -> str:
    for precision in ("float32", "float64"):
        cohort = _run([kind()], [0], 3, precision=precision)
        for name, array in cohort.state.items():
            if array.shape == cohort.parameters.shape and array.dtype.kind == "f" and array.dtype != precision:
                raise Mistake(
                    f"state {name} must have the run's precision, {precision}, got {array.dtype}: "
                    "np.zeros(…, dtype) with the dtype that bind_rule gets",
                    r"np\.(zeros|ones|empty|full)\(",
                )
    return "state has the run's precision"


def _clock(kind: type[Optimizer]) -> str:
    source = Source(kind)
    asked: list[str] = []
    with shifted_clocks(kind, source.filename, 0.0, asked):
        one = _run([kind()], [1])
    with shifted_clocks(kind, source.filename, DAY, asked):
        other = _run([kind()], [1])
    if not _same(one, 0, other, 0) or asked:
        line = asked[0] if asked else source.find(r"time|datetime|now\(")
        raise Mistake("the update reads the clock, so a replay would find other numbers", line=line)
    return "another time of day changes nothing"


def _seed(kind: type[Optimizer]) -> str:
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002  # what a rule may read
    try:
        runs = []
        for seed in (1, 2):
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            before = np.random.get_state()[1].tobytes(), np.random.get_state()[2], random.getstate()  # type: ignore[index]  # noqa: NPY002
            runs.append(_run([kind()], [1]))
            after = np.random.get_state()[1].tobytes(), np.random.get_state()[2], random.getstate()  # type: ignore[index]  # noqa: NPY002
            drawn = before != after
    finally:
        np.random.set_state(numpys)  # noqa: NPY002
        random.setstate(pythons)
    if drawn or not _same(runs[0], 0, runs[1], 0):
        raise Mistake(
            "the update draws from a global random generator; draw from situation.evaluations.probe(row), "
            "which a replay draws from again",
            r"random\.",
        )
    return "NumPy's and Python's global seeds change nothing"


def _repeats(kind: type[Optimizer]) -> str:
    if not _same(_run([kind()], [1]), 0, _run([kind()], [1]), 0):
        line = Source(kind).hidden_state()
        raise Mistake("two equal runs in one process have different bits: something outlives a run", line=line)
    return "equal runs have equal bits"


def _state(kind: type[Optimizer]) -> str:
    whole = _run([kind(), kind()], [3, 4], 5)
    kept = [whole.checkpoint(row) for row in range(2)]
    for _ in whole.run(STEPS):
        pass
    resumed = Cohort(_problem(), [kind(), kind()], [3, 4])
    for row in range(2):
        resumed.restore(row, kept[row])
    for _ in resumed.run(STEPS):
        pass
    if not all(_same(whole, row, resumed, row) for row in range(2)):
        raise Mistake(
            "a run that was restored at step 5 goes on with other bits: what the rule keeps between steps must be "
            "in its state",
            line=Source(kind).hidden_state(),
        )
    return "a run restored from a checkpoint goes on with the same bits"


def _cohort(kind: type[Optimizer]) -> str:
    together = _run([kind()] * 3, [5, 0, 6])
    for row, seed in enumerate((5, 0, 6)):
        if not _same(together, row, _run([kind()], [seed]), 0):
            raise Mistake(
                "a run has other bits among other runs than alone: each row must be computed from that row alone",
                r"axis=0|\.(mean|sum|max|min|any|all|std)\(\)|linalg\.norm\([^,]*\)|np\.(mean|sum|max|min)\([^,]*\)",
            )
    return "a run has the same bits alone and among others"


def _neighbours(kind: type[Optimizer]) -> str:
    runs, undisturbed = (_run([kind()] * 3, [1, 2, 3], 4) for _ in range(2))
    runs.parameters[1, 0] = np.nan
    for cohort in (runs, undisturbed):
        for _ in cohort.run(8):
            pass
    if not all(_same(runs, row, undisturbed, row) for row in (0, 2)):
        raise Mistake("a run that diverged changes the runs next to it", r"axis=0|\.(mean|sum|max|min)\(\)")
    return "a run that diverges leaves the others alone"


def _hyperparameters(kind: type[Optimizer]) -> str:
    rules = [_made(kind, share) for share in (0.0, 0.5, 1.0)]
    together = _run(rules, [2, 2, 2])
    for row, rule in enumerate(rules):
        if not _same(together, row, _run([rule], [2]), 0):
            raise Mistake(
                "a run follows the hyperparameters of another run: each is (R,), a number for each run",
                r"\[0\]|\.(mean|max|min|item)\(\)",
            )
    return "every run follows its own hyperparameters"


@dataclass(frozen=True)
class _Half(Schedule):
    """Half of the learning rate, at every step."""

    def factor(self, step: int) -> float:
        return 0.5


def _schedule(kind: type[Optimizer]) -> str:
    rate = kind().learning_rate
    halved = _run([kind(learning_rate=rate)], [1], schedule=_Half())
    own = _run([kind(learning_rate=rate / 2)], [1])
    if not np.allclose(halved.parameters, own.parameters, rtol=1e-5, atol=1e-7):
        raise Mistake(
            "a schedule has no effect: the learning rate must be read from situation.hyperparameters at every update",
            r"self\.\w*(rate|lr)\w*\s*=|learning_rate",
        )
    return "the learning rate follows a schedule"


def _zero(kind: type[Optimizer]) -> str:
    points, _ = drive(kind, [[0.0, 0.0, 0.0]] * 3, [3.0, -2.0, 0.5])
    if not np.isfinite(points).all():
        raise Mistake("a derivative of 0 gives NaN or infinity: add a small number to the divisor", r"/(?!/)|sqrt|log")
    return "a derivative of 0 gives a finite update"


def _sign(kind: type[Optimizer]) -> str:
    for gradient in ([1.0, -2.0, 0.5], [-0.1, 0.2, 3.0]):
        points, start = drive(kind, [gradient] * 10, [0.0, 0.0, 0.0])
        moved = points[-1] - start
        if float(moved @ np.array(gradient)) > 0:
            raise Mistake(
                "ten updates move along the gradient, so they raise the cost", r"\breturn\b.*rate|\+=|return "
            )
    mirrored, _ = drive(kind, [[-1.0, 2.0, -0.5]] * 3, [0.0, 0.0, 0.0])
    points, _ = drive(kind, [[1.0, -2.0, 0.5]] * 3, [0.0, 0.0, 0.0])
    symmetric = np.allclose(mirrored, -points, rtol=1e-9, atol=1e-12)
    larger, _ = drive(kind, [[16.0, -32.0, 8.0]] * 3, [0.0, 0.0, 0.0])
    ratio = float(np.linalg.norm(larger[-1])) / max(float(np.linalg.norm(points[-1])), 1e-300)
    size = {True: f"{ratio:.3g} times as far"}.get(abs(ratio - 1) > 0.01, "as far as before")
    mirror = "the opposite gradient gives the opposite update" if symmetric else "opposite gradients differ in size"
    return f"updates lower the cost; {mirror}; a gradient 16 times as large moves {size}"


def _minimum(kind: type[Optimizer]) -> str:
    problem = create("quadratic", dimension=4, condition=10)
    rate = kind().learning_rate
    rules = [kind(learning_rate=rate * share) for share in RATES]
    batch = problem.examples or None
    cohort = Cohort(
        problem, rules, [0] * len(rules), batch_size=batch, precision="float64", schedule=Cosine(steps=LONG)
    )
    for _ in cohort.run(LONG):
        pass
    far = np.abs(cohort.evaluation_parameters).max(axis=1)
    reached = [share for share, one in zip(RATES, far, strict=True) if one < NEAR]
    if not reached:
        raise Mistake(
            f"the minimum of a quadratic is not reached in {LONG} steps, with learning rates from {min(RATES):g} to "
            f"{max(RATES):g} times the default and a cosine schedule: the nearest point was {np.nanmin(far):.2g} away",
            r"\breturn\b|\+=|-=",
        )
    at = rate * reached[0]
    return f"the minimum of a quadratic is reached, with a learning rate of {at:.3g} and a cosine schedule"


CHECKS: dict[str, Callable[[type[Optimizer]], str]] = {
    "precision": _precision,
    "clock": _clock,
    "global seed": _seed,
    "repeats": _repeats,
    "state": _state,
    "cohort": _cohort,
    "neighbours": _neighbours,
    "hyperparameters": _hyperparameters,
    "schedule": _schedule,
    "zero gradient": _zero,
    "sign": _sign,
    "minimum": _minimum,
}


class _NoTrials:
    """Evaluations at the given point only: `drive` has no problem."""

    def __init__(self, gradient: NDArray[np.float64]) -> None:
        self._gradient = gradient

    def costs(self, points: Any, rows: Flags) -> Numbers:
        return np.asarray((points * self._gradient).sum(axis=1))

    def gradient(self, points: Any, rows: Flags) -> tuple[Numbers, Any]:
        return self.costs(points, rows), self._gradient.copy()

    def hessian_product(self, vectors: Any, rows: Flags) -> Any:
        return np.zeros_like(vectors)

    def probe(self, row: int) -> np.random.Generator:
        return np.random.default_rng(row)


def drive(
    kind: type[Optimizer], gradients: Sequence[Sequence[float]], start: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points (n, P) after updates with these gradients (n, P), and the start (P,), in float64; one run."""
    rule, parameters = kind(), np.array([start], dtype=np.float64)
    first = parameters[0].copy()
    bound = rule.bind([rule], Layout.of({"x": (parameters.size,)}), parameters.dtype)
    points = []
    for k, gradient in enumerate(gradients):
        g = np.array([gradient], dtype=np.float64)
        bound.update(
            Situation(
                parameters=parameters,
                costs=np.zeros(1),
                gradient=g,
                updates=np.array([float(k)]),
                hyperparameters=Hyperparameters([rule]),
                active=np.ones(1, dtype=np.bool_),
                evaluations=_NoTrials(g),
            )
        )
        points.append(parameters[0].copy())
    return np.array(points), first


@contextmanager
def shifted_clocks(kind: type[Optimizer], filename: str, seconds: float, asked: list[str]) -> Iterator[None]:
    """Clocks that are `seconds` ahead inside the context; the lines of `filename` that ask one are added to `asked`."""
    module = vars(sys.modules.get(kind.__module__))
    real = {name: getattr(time, name) for name in _CLOCKS}

    def heard() -> None:
        frame = sys._getframe(2)
        if frame.f_code.co_filename == filename:
            asked.append(linecache.getline(filename, frame.f_lineno).strip())

    def ahead(name: str) -> Callable[[], float]:
        def clock() -> float:
            heard()
            later: float = real[name]() + (int(seconds * 1e9) if name.endswith("_ns") else seconds)
            return later

        return clock

    class Later(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            heard()
            return dt.datetime.now(tz) + dt.timedelta(seconds=seconds)

    patched = {name: ahead(name) for name in _CLOCKS}
    kept = dict(module)
    for name, value in kept.items():
        for clock, function in real.items():
            if value is function:
                module[name] = patched[clock]
        if value is dt.datetime:
            module[name] = Later
    for name, function in patched.items():
        setattr(time, name, function)
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(time, name, function)
        module.update(kept)


def cost(kind: type[Optimizer], runs: int, *, seconds: float = 0.5) -> Cost:
    """The time of a step against Adam's on digits-mlp, gradient included; the least of several turns of each."""
    problem = create("digits-mlp")
    cohorts = [Cohort(problem, [rule() for _ in range(runs)], list(range(runs))) for rule in (kind, Adam)]
    least = [float("inf")] * 2
    for cohort in cohorts:
        for _ in cohort.run(3):
            pass
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for position, cohort in enumerate(cohorts):
            at = time.perf_counter()
            for _ in range(10):
                cohort.advance()
            least[position] = min(least[position], (time.perf_counter() - at) / 10 / runs * 1e6)
    return Cost(runs, *least)
