"""A run's page: its content as plain data, within a limit of bytes, and the HTML file of data, style and script."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from talweg.comparison.results import Floats, Steps, number
from talweg.errors import CorruptRecord, InvalidSpec, ReplayDiverged
from talweg.figures.curves import extremes
from talweg.records import Snapshot, norms, problem_of, recompute_snapshots, size_of, stored_snapshots
from talweg.rules import kind_or_none
from talweg.spec import parse_run
from talweg.store import RunRow, Store
from talweg.store.batch import checkpoint_every
from talweg.web import run_networks
from talweg.web.inline import Json, asset, content_hash, embedded, floats, numbers
from talweg_core.optimizers.description import describe
from talweg_core.problems import Problem

# In the order of their dependencies.
SCRIPTS = ("base", "chart", "network", "surface", "weights", "rule", "chain", "table", "page")
# The most points of the cost's curve, positions of the slider, and evaluations.
CURVE, SLIDER, EVALUATIONS = 1600, 400, 200
# Runs with at most this many coordinates show each of them at each position of the slider.
SMALL = 600
# The most bytes of numbers: with script and style a page stays below 300 kB.
BYTES = 215_000
# Seconds of the run's training that may be recomputed for its page.
RECOMPUTED_SECONDS = 2.0
# Coordinates times steps that are recomputed whatever the run's training time.
ALWAYS_RECOMPUTED = 3_000_000
# Coordinates times steps of a larger run that are held in memory.
VALUES = 2_000_000


def choose_steps(costs: Floats, most: int) -> Steps:
    """At most `most` (at least 4) of the steps 0 … n − 1, ascending.

    The first, the last, and those with the least and the greatest cost are always among them; so are those of every
    interval with its least and greatest cost, so that no spike is lost.
    """
    count = len(costs)
    if count <= most:
        return np.arange(count)
    finite = np.where(np.isfinite(costs), costs, -np.inf)
    kept = {0, count - 1, int(np.argmax(finite)), int(np.nanargmin(np.where(np.isfinite(costs), costs, np.inf)))}
    # Half of the rest for the extremes, two an interval; the other half evenly spaced.
    intervals = (most - len(kept)) // 4
    if intervals:
        kept |= set(extremes(costs, -(-count // intervals)).tolist())
    kept |= set(np.linspace(0, count - 1, most - len(kept) + 2).astype(np.int64)[1:-1].tolist())
    return np.array(sorted(kept), dtype=np.int64)


def some_of(steps: Steps, most: int) -> Steps:
    """At most `most` of the steps, evenly spaced, with the first and the last."""
    if len(steps) <= most:
        return steps
    return np.asarray(steps[np.unique(np.linspace(0, len(steps) - 1, most).astype(np.int64))])


def kept_of(kept: int, count: int) -> str:
    """The selection of steps, in words."""
    if kept == count:
        return "every step"
    return f"{kept:,} of {count:,} steps: evenly spaced, and those with the least and greatest cost of each interval"


@dataclass(frozen=True, eq=False)
class Shown:
    """The data behind a page.

    Attributes:
        steps: the slider's steps.
        measured: the steps with norms, including the slider's.
        snapshots: at all of the slider's steps, in larger runs at some; empty where they cannot be computed, and then
            `missing` is the reason.
    """

    run: RunRow
    problem: Problem
    costs: Floats
    steps: Steps
    measured: Steps
    snapshots: Sequence[Snapshot]
    missing: str | None

    @property
    def small(self) -> bool:
        """Whether each coordinate is shown at each position of the slider."""
        return size_of(self.run) <= SMALL


def shown(store: Store, run: RunRow) -> Shown:
    """Choose the steps to show of a run with at least one step of its own, and read or recompute their snapshots.

    A fork's page shows its own steps; only the cost's curve includes those that it shares with its parent.
    """
    problem = problem_of(parse_run(run.spec))
    costs = store.steps(run.id, 0, run.step).cost
    small = size_of(run) <= SMALL
    norms_fit = min(max(BYTES // 4 // (16 * len(run.tensors)), 8), SLIDER)
    vectors_fit = max(BYTES * 2 // 3 // _bytes_a_step(run, problem), 8)
    first = first_own(run)
    steps = first + choose_steps(costs[first:], min(vectors_fit, norms_fit) if small else norms_fit)
    measured = np.union1d(steps, first + choose_steps(costs[first:], norms_fit)) if small else steps
    snapshots: list[Snapshot] = []
    missing = None
    try:
        snapshots = _snapshots(store, run, steps if small else _affordable(run, steps))
    except (ReplayDiverged, CorruptRecord, InvalidSpec) as error:
        # InvalidSpec: a user's own optimizer, installed for the workers but not here.
        missing = f"The steps could not be recomputed here: {error}"
    return Shown(run, problem, costs, steps, measured, snapshots, missing)


def first_own(run: RunRow) -> int:
    """The first step that is not the parent's; 0 for a run that is no fork."""
    return run.parent_step or 0


def content(store: Store, shown: Shown, title: str) -> Json:
    """The input of the page's script."""
    found = _about(shown.run, title) | _curves(store, shown)
    if shown.missing is not None:
        return found | {"missing": shown.missing}
    found |= _vectors(shown) if shown.small else _pictures(shown)
    surface = run_networks.grid(shown.problem, np.stack([each.parameters for each in shown.snapshots]))
    return found if surface is None else found | {"surface": surface}


def _bytes_a_step(run: RunRow, problem: Problem) -> int:
    kind = kind_or_none(run.optimizer)
    states = len(kind.state) if kind is not None else 0
    values = size_of(run) * (3 + states) + 3 * len(run.tensors) + 20
    return 16 * (values + run_networks.values_a_step(problem)) // 3


def _about(run: RunRow, title: str) -> Json:
    kind = kind_or_none(run.optimizer)
    optimizer = describe(kind) if kind is not None else None
    settings = {key: value for key, value in run.spec["optimizer"].items() if key != "name"}
    return {
        "title": title,
        "name": run.name,
        "problem": run.problem,
        "optimizer": optimizer.title if optimizer is not None else run.optimizer,
        "formula": optimizer.formula if optimizer is not None else "",
        "source": optimizer.source if optimizer is not None else "",
        "settings": [[key, number(value)] for key, value in settings.items()],
        "batch": run.spec["batch_size"],
        "precision": run.precision,
        "state": run.stop_reason if run.stop_reason == "diverged" else run.state,
        "made": run.step,
        "asked": run.total_steps,
        "tensors": [{"name": tensor["name"], "shape": tensor["shape"]} for tensor in run.tensors],
    }


def _curves(store: Store, shown: Shown) -> Json:
    run, costs, steps = shown.run, shown.costs, shown.steps
    width = -(-2 * len(costs) // CURVE)
    thinned = len(costs) > CURVE
    kept = np.unique(extremes(costs, width)) if thinned else np.arange(len(costs))
    rates = store.steps(run.id, 0, run.step).learning_rate
    whole = np.asarray(norms(store, run, 0, run.step), dtype=np.float64)
    return {
        "curve": {"steps": floats(kept), "costs": floats(costs[kept]), "thinned": width if thinned else 0},
        "evaluations": _evaluations(store, run),
        "steps": steps.tolist(),
        "kept": kept_of(len(steps), len(costs) - first_own(run)),
        "costs": floats(costs[steps]),
        "rates": floats(rates[steps]),
        "measured": shown.measured.tolist(),
        "norms": floats(whole[shown.measured]),
    }


def _evaluations(store: Store, run: RunRow) -> list[Json]:
    rows = sorted((row for row in store.evaluations(run.id) if row.split == "validation"), key=lambda row: row.step)
    kept = [rows[i] for i in some_of(np.arange(len(rows)), EVALUATIONS)]
    costs = numbers(math.nan if row.cost is None else row.cost for row in kept)
    return [{"split": "validation", "steps": [row.step for row in kept], "costs": costs}] if kept else []


def _vectors(shown: Shown) -> Json:
    """Every coordinate at every position of the slider, the optimizer's state, and the chain rule's factors."""
    snapshots = shown.snapshots
    found: Json = {
        "vectors": {
            quantity: floats([getattr(each, quantity) for each in snapshots]) for quantity in run_networks.QUANTITIES
        },
    }
    return found | run_networks.rule(shown.run, snapshots) | run_networks.chain(shown.problem, snapshots)


def _snapshots(store: Store, run: RunRow, steps: Steps) -> list[Snapshot]:
    if run.record == "full" and size_of(run) > SMALL:
        return list(stored_snapshots(store, run, steps.tolist()))
    try:
        return list(recompute_snapshots(store, run, steps.tolist()))
    except ReplayDiverged:
        # Recorded on a machine with other bits. A full record is read instead, without the optimizer's state.
        if run.record == "replay":
            raise
        return list(stored_snapshots(store, run, steps.tolist()))


def _pictures(shown: Shown) -> Json:
    """Histograms at some steps, and every coordinate as a colour at fewer."""
    run = shown.run
    at = np.array([each.step for each in shown.snapshots])
    taken = 16 * len(shown.steps) * len(run.tensors)
    taken += len(at) * run_networks.BINS * 8 // 3 * min(len(run.tensors), run_networks.TENSORS)
    # Three quantities of a byte a coordinate, in base64.
    pictured = some_of(at, max(min((BYTES - taken) // (4 * size_of(run)), 12), 0))
    return run_networks.pictures(run, shown.problem, shown.snapshots, set(pictured.tolist()))


def _affordable(run: RunRow, steps: Steps) -> Steps:
    """Steps whose snapshots take about RECOMPUTED_SECONDS at most; a function of the record alone."""
    several = some_of(steps, min(run_networks.HISTOGRAMS, max(VALUES // size_of(run), 2)))
    if run.record == "full" or run.started_at is None or run.finished_at is None:
        return several
    trained = (run.finished_at - run.started_at).total_seconds()
    affordable = int(RECOMPUTED_SECONDS * run.step / max(trained, 1e-3))
    every = checkpoint_every(run.record, size_of(run), run.total_steps)
    needed = min(run.step, len(several) * every)
    # A run's time includes compilation and other runs' load, so a small amount is recomputed in any case.
    if affordable >= needed or needed * size_of(run) <= ALWAYS_RECOMPUTED:
        return several
    # A step at a checkpoint needs no other step to be recomputed.
    return some_of(np.arange(first_own(run), run.step, every), max(min(affordable, len(several)), 2))


@cache
def _script() -> str:
    parts = "\n".join(asset("run_assets", f"{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}\n}})();\n'


def document(value: Json) -> str:
    """The HTML file of a run's content. Its Content-Security-Policy allows style and script by their hashes."""
    script, style = _script(), asset("run_assets", "page.css")
    policy = (
        f"default-src 'none'; script-src '{content_hash(script)}'; style-src '{content_hash(style)}'; img-src data:"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(str(value["title"]))}</title>
<style>{style}</style>
</head>
<body>
<noscript>This page needs JavaScript, which is disabled here.</noscript>
<script type="application/json" id="content">{embedded(value)}</script>
<script>{script}</script>
</body>
</html>
"""
