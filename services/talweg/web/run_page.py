"""What a run's page shows, as plain data, in no more bytes than a page may have."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from talweg.comparison.results import Floats, Steps, number
from talweg.errors import CorruptRecord, InvalidSpec, ReplayDiverged
from talweg.figures.curves import extremes
from talweg.records import Snapshot, norms, problem_of, recompute_snapshots, size_of, stored_snapshots
from talweg.spec import parse_run
from talweg.store import RunRow, Store
from talweg.store.batch import checkpoint_every
from talweg.web import run_networks
from talweg.web.run_page_html import Json, floats, numbers
from talweg_core import optimizers
from talweg_core.optimizers.description import describe
from talweg_core.problems import Problem

# Points of the cost's curve, positions of the slider, and evaluations.
CURVE, SLIDER, EVALUATIONS = 1600, 400, 200
# Runs with at most this many coordinates show each of them at each position of the slider.
SMALL = 600
# Bytes that numbers may take: with script and style a page stays below 300 kB.
BYTES = 215_000
# Seconds of the run's own training that may be done again for its page.
AGAIN = 2.0
# Coordinates times steps that are gone through again in any case.
LITTLE = 3_000_000
# Coordinates times steps of a larger run that are held in memory.
VALUES = 2_000_000


def choose_steps(costs: Floats, most: int) -> Steps:
    """At most `most` (at least 4) of the steps 0 … n − 1, ascending.

    The first, the last, the cheapest and the costliest are always among them, and of every stretch its cheapest and
    costliest, so that no spike is lost.
    """
    count = len(costs)
    if count <= most:
        return np.arange(count)
    finite = np.where(np.isfinite(costs), costs, -np.inf)
    kept = {0, count - 1, int(np.argmax(finite)), int(np.nanargmin(np.where(np.isfinite(costs), costs, np.inf)))}
    # Half of what is left for the extremes, two a stretch; the rest for an even spacing.
    stretches = (most - len(kept)) // 4
    if stretches:
        kept |= set(extremes(costs, -(-count // stretches)).tolist())
    kept |= set(np.linspace(0, count - 1, most - len(kept) + 2).astype(np.int64)[1:-1].tolist())
    return np.array(sorted(kept), dtype=np.int64)


def some_of(steps: Steps, most: int) -> Steps:
    """At most `most` of these, evenly spread, with the first and the last."""
    if len(steps) <= most:
        return steps
    return np.asarray(steps[np.unique(np.linspace(0, len(steps) - 1, most).astype(np.int64))])


def kept_of(kept: int, count: int) -> str:
    """What was kept, in words."""
    if kept == count:
        return "every step"
    return f"{kept:,} of {count:,} steps: evenly spaced ones, and each stretch’s cheapest and costliest"


@dataclass(frozen=True, eq=False)
class Shown:
    """What a page is about.

    Attributes:
        steps: the slider's. `measured`: those whose norms are shown; the slider's are among them.
        looks: steps gone through again; every one of the slider's, or in larger runs some; none where that failed,
            and `missing` says why.
    """

    run: RunRow
    problem: Problem
    costs: Floats
    steps: Steps
    measured: Steps
    looks: Sequence[Snapshot]
    missing: str | None

    @property
    def small(self) -> bool:
        """Each coordinate is shown at each position of the slider."""
        return size_of(self.run) <= SMALL


def shown(store: Store, run: RunRow) -> Shown:
    """Choose what to show of a run that has recorded at least one step of its own, and go through it again.

    What a fork shares with its parent is on the parent's page; of it, the cost's curve shows the whole way.
    """
    problem = problem_of(parse_run(run.spec))
    costs = store.steps(run.id, 0, run.step).cost
    small = size_of(run) <= SMALL
    norms_fit = min(max(BYTES // 4 // (16 * len(run.tensors)), 8), SLIDER)
    vectors_fit = max(BYTES * 2 // 3 // _bytes_a_step(run, problem), 8)
    first = first_own(run)
    steps = first + choose_steps(costs[first:], min(vectors_fit, norms_fit) if small else norms_fit)
    measured = np.union1d(steps, first + choose_steps(costs[first:], norms_fit)) if small else steps
    looks: list[Snapshot] = []
    missing = None
    try:
        looks = _looks(store, run, steps if small else _affordable(run, steps))
    except (ReplayDiverged, CorruptRecord, InvalidSpec) as error:
        # InvalidSpec: an optimizer of the user's own, which is installed where workers run, and not here.
        missing = f"The steps could not be computed again here: {error}"
    return Shown(run, problem, costs, steps, measured, looks, missing)


def first_own(run: RunRow) -> int:
    """Where a fork left its parent; 0 for every other run."""
    return run.parent_step or 0


def content(store: Store, shown: Shown, title: str) -> Json:
    """Everything that the page's script needs."""
    found = _about(shown.run, title) | _curves(store, shown)
    if shown.missing is not None:
        return found | {"missing": shown.missing}
    found |= _vectors(shown) if shown.small else _snapshots(shown)
    surface = run_networks.grid(shown.problem, np.stack([look.parameters for look in shown.looks]))
    return found if surface is None else found | {"surface": surface}


def _bytes_a_step(run: RunRow, problem: Problem) -> int:
    kind = optimizers.catalogue().get(run.optimizer)
    states = len(kind.state) if kind is not None else 0
    values = size_of(run) * (3 + states) + 3 * len(run.tensors) + 20
    return 16 * (values + run_networks.values_a_step(problem)) // 3


def _about(run: RunRow, title: str) -> Json:
    kind = optimizers.catalogue().get(run.optimizer)
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
        "told": kept_of(len(steps), len(costs) - first_own(run)),
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
    """Every coordinate at every position of the slider, what the optimizer held, and the chain rule's factors."""
    looks = shown.looks
    found: Json = {
        "vectors": {
            "parameters": floats([look.parameters for look in looks]),
            "gradient": floats([look.gradient for look in looks]),
            "update": floats([look.update for look in looks]),
        },
    }
    return found | run_networks.rule(shown.run, looks) | run_networks.chain(shown.problem, looks)


def _looks(store: Store, run: RunRow, steps: Steps) -> list[Snapshot]:
    if run.record == "full" and size_of(run) > SMALL:
        return list(stored_snapshots(store, run, steps.tolist()))
    try:
        return list(recompute_snapshots(store, run, steps.tolist()))
    except ReplayDiverged:
        # Another machine's bits; what is stored whole is read instead, without what the optimizer held.
        if run.record == "replay":
            raise
        return list(stored_snapshots(store, run, steps.tolist()))


def _snapshots(shown: Shown) -> Json:
    """Histograms at some steps, and every coordinate in colours at fewer."""
    run = shown.run
    at = np.array([look.step for look in shown.looks])
    taken = 16 * len(shown.steps) * len(run.tensors)
    taken += len(at) * run_networks.BINS * 8 // 3 * min(len(run.tensors), run_networks.TENSORS)
    # Three quantities of a byte a coordinate, in base64.
    pictured = some_of(at, max(min((BYTES - taken) // (4 * size_of(run)), 12), 0))
    return run_networks.pictures(run, shown.problem, shown.looks, set(pictured.tolist()))


def _affordable(run: RunRow, steps: Steps) -> Steps:
    """Steps to look at that cost no more than about AGAIN seconds; a function of the record alone."""
    several = some_of(steps, min(run_networks.HISTOGRAMS, max(VALUES // size_of(run), 2)))
    if run.record == "full" or run.started_at is None or run.finished_at is None:
        return several
    trained = (run.finished_at - run.started_at).total_seconds()
    affordable = int(AGAIN * run.step / max(trained, 1e-3))
    every = checkpoint_every(run.record, size_of(run), run.total_steps)
    needed = min(run.step, len(several) * every)
    # A run's time also holds what was compiled for it, and whom it shared the machine with: little is done anyway.
    if affordable >= needed or needed * size_of(run) <= LITTLE:
        return several
    # At a checkpoint, a step costs no other one.
    return some_of(np.arange(first_own(run), run.step, every), max(min(affordable, len(several)), 2))
