"""The names of runs, parameters, tags and metrics in MLflow, and the descriptions of runs and studies there."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from talweg.comparison.results import SEPARATOR, label
from talweg.number_format import figures
from talweg.store import RunRow
from talweg.web.report import escape
from talweg_core.problems import Problem, SurfaceProblem

# MLflow cuts or refuses longer values.
PARAMETER_LENGTH, TAG_LENGTH = 6000, 8000
# The tag that MLflow shows as the description.
DESCRIPTION_TAG = "mlflow.note.content"
# The tag with the colour of a run's curves.
COLOUR_TAG = "mlflow.runColor"
# By these the mirror finds what it has made in MLflow.
RUN_TAG, STUDY_TAG = "talweg.run", "talweg.study"
# The experiment of runs that belong to no study.
SINGLE_RUNS = "single runs"
# The norms that a step has of each tensor, in the order of the store's arrays.
NORMS = ("gradient_norm", "parameter_norm", "update_norm")
# The file with a run's description; the run's page; its exact record.
NOTE_FILE, PAGE, RECORD = "note.md", "run.html", "record.parquet"
# The figure of the cost as PNG, at its path in the first version.
OLD_PICTURE = "cost.png"
# The report of a study as a page and as Markdown; its figure.
REPORT, MARKDOWN = "report.html", "report.md"
STUDY_PICTURES = ("figures/cost.png", "figures/cost.svg")
STUDY_FILES = frozenset({REPORT, MARKDOWN, *STUDY_PICTURES})

_STATUS = {
    "queued": "SCHEDULED",
    "running": "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "cancelled": "KILLED",
}


def run_name(spec: Mapping[str, Any], keys: Collection[str], *, alone: bool, stop_reason: str | None) -> str:
    """`adam s2 · lr 0.003`: optimizer and seed, then the learning rate and the hyperparameters that vary in the study.

    MLflow's table and the legends of its charts cut names off, so what tells runs apart comes first: with `alone` the
    problem's name before all, and after the seed "diverged" or "pruned", since neither shows the stop reason.
    """
    optimizer = spec["optimizer"]
    name, *settings = label(optimizer, {*keys, "learning_rate"}).split(SEPARATOR)
    short = [setting.replace("learning_rate ", "lr ", 1) for setting in settings]
    ended = f" {stop_reason}" if stop_reason in ("diverged", "pruned") else ""
    return SEPARATOR.join([*([problem_name(spec)] if alone else []), f"{name} s{spec['seed']}{ended}", *short])


def problem_name(spec: Mapping[str, Any]) -> str:
    """The problem's name, or `<dataset>-network` where it has none; all names, where a study has several."""
    if several := spec.get("problems"):
        return ", ".join(problem_name(own) for own in several)
    problem = spec["problem"]
    return str(problem.get("name") or f"{problem.get('dataset', 'own')}-network")


def diverged_at(run: RunRow) -> int | None:
    """The step at which the run's cost or gradient stopped being finite; None where it did not diverge."""
    return run.step - 1 if run.stop_reason == "diverged" and run.step else None


def status(state: str) -> str:
    """MLflow's status for a run's state."""
    return _STATUS[state]


def file_names(run: RunRow, problem: Problem) -> frozenset[str]:
    """The files that can be made of an ended run. Where its steps cannot be recomputed, some of the figures cannot."""
    if run.step <= (run.parent_step or 0):
        return frozenset({NOTE_FILE})
    drawn = ["norms", "histograms"]
    if isinstance(problem, SurfaceProblem) and problem.layout.size == 2:
        drawn.append("path")
    pictures = {f"figures/{name}.{kind}" for name in drawn for kind in ("png", "svg")}
    return frozenset({NOTE_FILE, PAGE, RECORD, OLD_PICTURE, "figures/cost.svg", *pictures})


def parameters(spec: Mapping[str, Any]) -> dict[str, str]:
    """Every setting of a run: hyperparameters by name, settings of problem and schedule as `problem.<name>`."""
    plain = {key: spec[key] for key in ("batch_size", "steps", "seed", "precision", "evaluate_every", "record")}
    named = {
        "optimizer": spec["optimizer"]["name"],
        "problem": problem_name(spec),
        "schedule": spec["schedule"]["name"],
    }
    settings = {key: value for key, value in spec["optimizer"].items() if key != "name"}
    for part in ("problem", "schedule"):
        settings |= {f"{part}.{key}": value for key, value in spec[part].items() if key != "name"}
    values = {**settings, **named, **plain}
    return {_key(key): _text(value, PARAMETER_LENGTH) for key, value in values.items() if value is not None}


def tags(values: Mapping[str, Any]) -> dict[str, str]:
    """Tags in MLflow's format; those without a value are left out."""
    return {key: _text(value, TAG_LENGTH) for key, value in values.items() if value is not None}


def metric_key(*parts: str) -> str:
    """`gradient_norm.dense1.weight`: the parts joined by dots, in characters that MLflow allows."""
    return _key(".".join(part for part in parts if part))


def _key(text: str) -> str:
    return re.sub(r"[^\w .:-]", "_", text)[:250]


def _text(value: Any, length: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= length else text[: length - 1] + "…"


def run_description(run: RunRow, thinned: str | None) -> str:
    """The run's settings, how it ended, and where its exact record is."""
    optimizer = run.spec["optimizer"]
    setting = label(optimizer, [key for key in optimizer if key != "name"])
    what = f"**{escape(problem_name(run.spec))}** by **{escape(setting)}**, seed {run.seed}"
    where = f"`talweg show {run.name}`, or in Python `Lab().run({run.name!r}).gradient(step=0)`"
    lines = [
        f"{what}, {run.total_steps:,} steps in {run.precision}.",
        _outcome(run),
        f"The laboratory has every step's cost, gradient and parameters: {where}.",
    ]
    if thinned is not None:
        lines.append(f"Metrics here are thinned ({escape(thinned)}); the laboratory has all of them.")
    return "\n\n".join(line for line in lines if line)


def study_description(name: str, spec: Mapping[str, Any], *, outcome: str = "", report: str | None = None) -> str:
    """The study's optimizers, problem and steps; and its results, with the report's address."""
    settings = [label(each, [key for key in each if key != "name"]) for each in spec["optimizers"]]
    seeds = spec["seeds"]
    count = seeds if isinstance(seeds, int) else len(seeds)
    listed = "\n".join(f"- {escape(setting)}" for setting in settings)
    results = outcome and f"\n\n{outcome}"
    linked = "" if report is None else f"\n\n[The whole report]({report}), with its curves."
    return (
        f"**{escape(name)}**: {len(settings)} optimizer settings × {count} seeds on "
        f"**{escape(problem_name(spec))}**, {spec['steps']:,} steps each. The same seed gives every optimizer the "
        f"same start and the same batches.{results}{linked}\n\n{listed}\n\n"
        "Group the table by `optimizer`; chart `cost` and `cost.validation`."
    )


def _outcome(run: RunRow) -> str:
    if not run.ended:
        return ""
    if run.stop_reason == "pruned":
        return f"It was **pruned** after {run.step:,} steps: others of its search were better by then."
    if run.stop_reason == "diverged":
        return (
            f"It **diverged** at step {diverged_at(run)}: its cost or gradient was no longer finite there. "
            "Metrics here end before it."
        )
    if run.stop_reason == "time":
        return f"It stopped after {run.step:,} steps, at its limit of {run.spec['max_seconds']:g} s."
    numbers = "" if run.cost is None else f" Its last cost was {figures(run.cost)}"
    numbers += "" if run.best_cost is None else f", its best {figures(run.best_cost)}"
    return f"It {_WORDS[run.state]} after {run.step:,} steps.{numbers}{'.' if numbers else ''}"


_WORDS = {"finished": "finished", "failed": "failed", "cancelled": "was cancelled"}
