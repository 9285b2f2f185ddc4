"""Study: its runs, ranking, tables, report and figures."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from talweg.client.run import reason
from talweg.client.run_or_study import RunOrStudy, every
from talweg.client.runs import Runs
from talweg.client.table import Interval, Spread, Table
from talweg.client.vectors import replaced, write_parquet
from talweg.client.waiting import Progress
from talweg.errors import InvalidSpec

if TYPE_CHECKING:
    from talweg.client.vectors import Array

FIGURES: Final = (".png", ".svg")
# The scores of a ranking with their column names; that of the metric depends on the problem.
SCORES: Final = {
    "validation_cost": "validation_cost",
    "validation_metric": "validation_metric",
    "final_cost": "final_cost",
    "best_cost": "best_cost",
    "mean": "mean",
    "profile_score": "profile_score",
    "targets_met": "targets_met",
}


@dataclass(frozen=True)
class SeedPlan:
    """How many seeds find a difference; `str()` of it is the plan in words.

    Attributes:
        seeds: of every optimizer.
        runs: of all optimizers, on all problems.
        seconds: of training, one run at a time; None where that is not known.
        power: the probability with which the difference is found.
    """

    difference: float
    seeds: int
    runs: int
    seconds: float | None
    power: float
    text: str

    def __str__(self) -> str:
        return self.text


def share(difference: float | str) -> float:
    """0.1 of 0.1, "0.1" or "10%"; raises InvalidSpec."""
    text = str(difference).strip()
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise InvalidSpec(f"difference: must be a share, as in 10% or 0.1, got {difference!r}") from None


class Study(RunOrStudy):
    """Runs compared under one protocol."""

    kind: ClassVar[str] = "study"
    noun: ClassVar[str] = "studies"

    @property
    def runs(self) -> Runs:
        """All runs, by optimizer setting, then by seed. A run is requested when it is asked for: `runs[-1]`."""
        return Runs(self._wire, self.id, int(self._now()["runs"]))

    def costs(self, start: int = 0, stop: int | None = None) -> "Array":
        """(runs, steps) float64: the costs of `runs[start:stop]` at every recorded step; NaN after a run's last step.

        Args:
            start: position of the first run.
            stop: position after the last run; None: all.
        """
        import numpy as np

        wanted = range(int(self._now()["runs"]))[start:stop]
        pages: list[Array] = []
        at = wanted.start
        while at < wanted.stop:
            page = self._wire.array(self._path("costs"), start=at, stop=wanted.stop)
            if not len(page):
                break
            pages.append(page)
            at += len(page)
        steps = max((page.shape[1] for page in pages), default=0)
        filled = [np.pad(page, ((0, 0), (0, steps - page.shape[1])), constant_values=np.nan) for page in pages]
        return np.concatenate(filled) if filled else np.empty((0, 0))

    @property
    def notes(self) -> list[str]:
        """What its number of seeds cannot settle; empty where every comparison can be settled."""
        return list(self._view.get("notes", ()))

    def ranking(self) -> Table:
        """The optimizer settings, best first: medians with ranges over seeds, and means with 95 % intervals.

        For several problems: profile scores with intervals, and the number of reached targets. On an uploaded dataset
        the baselines follow, without a rank.
        """
        answer = self._wire.get(self._path("ranking"))
        titles = SCORES | {"validation_metric": f"validation_{answer['metric'] or 'metric'}"}
        scores = [score for score in titles if any(row.get(score) is not None for row in answer["rows"])]
        scores.sort(key=lambda score: score != answer["ranked_by"])
        keys = ["rank", "label", *scores, "runs", "complete", "diverged", "blown_up"]
        columns = tuple(titles.get(key, "optimizer" if key == "label" else key) for key in keys)
        rows = tuple(tuple(_cell(row.get(key)) for key in keys) for row in answer["rows"])
        rows += tuple(tuple(_baseline(one).get(key) for key in keys) for one in answer.get("baselines", ()))
        # Columns to show in a narrow terminal.
        lost = [key for key in ("diverged", "blown_up") if any(row.get(key) for row in answer["rows"])] or ["diverged"]
        wanted = ("rank", "label", answer["ranked_by"], "validation_metric", *lost, "runs")
        first = tuple(columns[keys.index(key)] for key in wanted if key in keys)
        return Table(columns, rows, title=f"study {self.name}", first=first)

    def plan(self, difference: float | str) -> SeedPlan:
        """How many seeds find a difference, from the spread of this study's runs.

        Args:
            difference: in the final cost, as a share: 0.1 or "10%".

        Raises:
            InvalidSpec: the difference is not between 0 and 1, or fewer than two optimizers trained on two seeds.
        """
        answer = self._wire.get(self._path("plan"), difference=share(difference))
        return SeedPlan(**{key: answer[key] for key in SeedPlan.__dataclass_fields__})

    @property
    def verdict(self) -> str:
        """The conclusion that the present results support."""
        return str(self._wire.get(self._path("ranking"))["verdict"])

    def guards(self) -> Table:
        """What speaks against the comparison, the worst first: refused, warning or note."""
        found = self._wire.get(self._path("ranking"))["guards"]
        columns = ("level", "kind", "text")
        return Table(columns, tuple(tuple(row[column] for column in columns) for row in found))

    def standings(self) -> Table:
        """Cost with interval and time to the target, for every optimizer on every problem."""
        return self._table("standings")

    def differences(self) -> Table:
        """Every pair of optimizers compared seed by seed: interval, p, and the better one where it is significant."""
        return self._table("differences")

    def profile(self) -> Table:
        """For each optimizer, the fraction of problems within a factor τ of the fastest; its integral with interval."""
        return self._table("profile")

    def scores(self) -> Table:
        """Interquartile mean, optimality gap and probability of improvement over the others, with 95 % intervals.

        Over all problems; a score is 0 at the cost before the first step and 1 at the study's best cost.
        """
        return self._table("scores")

    def sensitivity(self) -> Table:
        """The cost at each learning rate that a tuned study tried."""
        return self._table("sensitivity")

    def figure(self, path: str | os.PathLike[str]) -> Path:
        """Write the cost curves to `path`, as PNG or SVG by its suffix; returns the path."""
        path = Path(path)
        if path.suffix.lower() not in FIGURES:
            raise InvalidSpec(f"path: must end in {' or '.join(FIGURES)}, got {str(path)!r}")
        return _write(path, self._wire.content(self._path(f"figure{path.suffix.lower()}")))

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the report to `path`: one self-contained HTML page, or Markdown for suffix .md; returns the path."""
        kind = "md" if Path(path).suffix.lower() == ".md" else "html"
        return _write(Path(path), self._wire.content(self._path(f"report.{kind}")))

    def _table(self, name: str) -> Table:
        answer = self._wire.get(self._path("tables", name))
        rows = tuple(tuple(_cell(cell) for cell in row) for row in answer["rows"])
        return Table(tuple(answer["columns"]), rows, title=f"study {self.name}: {name}")

    def export(self, path: str | os.PathLike[str], *, vectors: bool = False) -> Path:
        """Write a Parquet file with a row for each step of each run; with `vectors` also gradients and parameters."""
        return write_parquet(list(self.runs), path, vectors=vectors)

    def _progress(self) -> Progress:
        view = self._view
        counts = ", ".join(f"{count} {state}" for state, count in view["counts"].items() if count)
        rest = f", {view['paused']} of them paused" if view.get("paused") else ""
        words = f"{view['runs']} runs: {counts}{rest}"
        return Progress(view["steps_done"], view["steps_total"], words, self._is_over())

    def _failure(self) -> str | None:
        failed = self._view["counts"].get("failed")
        if not failed:
            return None
        some = every(self._wire, "/v1/runs", limit=3, study=self.id, state="failed")
        reasons = "; ".join(f"{view['name']}: {reason(view)}" for view in some)
        return f"study {self.name}: {failed} of {self._view['runs']} runs failed: {reasons}"

    def _facts(self) -> dict[str, Any]:
        view = self._view
        return {
            "problem": view["spec"].get("problems") or view["spec"]["problem"],
            "optimizers": [optimizer["name"] for optimizer in view["spec"]["optimizers"]],
            "runs": view["runs"],
            "steps": f"{view['steps_done']} of {view['steps_total']}",
            "id": self.id,
        }


def _baseline(one: dict[str, Any]) -> dict[str, Any]:
    """A baseline as a row of the ranking."""
    found: dict[str, Any] = {"label": f"baseline: {one['name']}"}
    for key, value in (("validation_cost", one["cost"]), ("validation_metric", one["accuracy"])):
        if value is not None:
            found[key] = Spread(value, value, value, 1)
    return found


def _cell(value: Any) -> Any:
    if isinstance(value, dict) and "median" in value:
        return Spread(**value)
    return Interval(**value) if isinstance(value, dict) and "estimate" in value else value


def _write(path: Path, content: bytes) -> Path:
    """Write the file whole or not at all."""
    with replaced(path) as draft:
        draft.write_bytes(content)
        # A temporary file has mode 0600; the result gets the mode of any new file.
        draft.chmod(0o666 & ~_umask())
    return path


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
