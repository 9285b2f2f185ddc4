"""What a run or a study is, in a few lines of Markdown: MLflow shows it as the description."""

from collections.abc import Mapping
from typing import Any

from talweg.comparison.labels import label
from talweg.comparison.report import escape
from talweg.readable import figures
from talweg.store import RunRow
from talweg.tracking.naming import problem_name


def run_note(run: RunRow, thinned: str | None) -> str:
    """How the run came about, how it ended, and where its exact record is."""
    optimizer = run.spec["optimizer"]
    setting = label(optimizer, [key for key in optimizer if key != "name"])
    what = f"**{escape(problem_name(run.spec))}** by **{escape(setting)}**, seed {run.seed}"
    where = f"`talweg show {run.name}`, or in Python `Lab().run({run.name!r}).gradient(step=0)`"
    lines = [
        f"{what}, {run.total_steps:,} steps in {run.precision}.",
        _ending(run),
        f"Every step's cost, gradient and parameters stand in the laboratory: {where}.",
    ]
    if thinned is not None:
        lines.append(f"Metrics here are thinned ({escape(thinned)}); the laboratory has them all.")
    return "\n\n".join(line for line in lines if line)


def study_note(name: str, spec: Mapping[str, Any], *, outcome: str = "", report: str | None = None) -> str:
    """The protocol: what is compared, on what, for how long; and what came out, with the report's address."""
    settings = [label(each, [key for key in each if key != "name"]) for each in spec["optimizers"]]
    seeds = spec["seeds"]
    count = seeds if isinstance(seeds, int) else len(seeds)
    listed = "\n".join(f"- {escape(setting)}" for setting in settings)
    came_out = outcome and f"\n\n{outcome}"
    linked = "" if report is None else f"\n\n[The whole report]({report}), with its curves."
    return (
        f"**{escape(name)}**: {len(settings)} optimizer settings × {count} seeds on "
        f"**{escape(problem_name(spec))}**, {spec['steps']:,} steps each. The same seed gives every optimizer the "
        f"same start and the same batches.{came_out}{linked}\n\n{listed}\n\n"
        "Group the table by `optimizer`; chart `cost` and `cost.validation`."
    )


def _ending(run: RunRow) -> str:
    if not run.ended:
        return ""
    if run.stop_reason == "pruned":
        return f"It was **pruned** after {run.step:,} steps: others of its search were better by then."
    if run.stop_reason == "diverged":
        return f"It **diverged** at step {run.step - 1}: its cost or gradient was no longer finite there."
    if run.stop_reason == "time":
        return f"It stopped after {run.step:,} steps: it may train no longer than {run.spec['max_seconds']:g} s."
    numbers = "" if run.cost is None else f" Its last cost was {figures(run.cost)}"
    numbers += "" if run.best_cost is None else f", its best {figures(run.best_cost)}"
    return f"It {_WORDS[run.state]} after {run.step:,} steps.{numbers}{'.' if numbers else ''}"


_WORDS = {"finished": "finished", "failed": "failed", "cancelled": "was cancelled"}
