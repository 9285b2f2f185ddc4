"""Plan cohorts: which runs train together, and whether the disk has room for their records."""

import itertools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from talweg.errors import DiskFull
from talweg.records.from_spec import optimizer_of
from talweg.spec import OptimizerSpec, RunSpec
from talweg.store import Store
from talweg.store.batch import Resolved, recorded_bytes
from talweg.store.rows import RunFields

# Coordinates that a cohort's runs may have together: 32 MB an array in float32.
_COORDINATES = 8_000_000


def plan(
    specs: Sequence[RunSpec],
    *,
    size: int,
    cohort_size: int,
    workers: int,
    fitting: Callable[[RunSpec], int] | None = None,
) -> list[list[int]]:
    """Positions in `specs`, cohort by cohort; each run is in exactly one.

    Runs share a cohort where their specs differ only by seed and by hyperparameters that do not determine the shape of
    the optimizer's state; switches, sizes and the rules in `around` do. A group is cut into equal parts of at most
    `cohort_size` runs. While there are fewer cohorts than `workers`, the largest is halved: two workers with half of it
    each finish sooner than one with all of it.

    Args:
        specs: Normalised specs of one problem.
        size: P, the problem's coordinates; wide problems have smaller cohorts.
        cohort_size: The most runs in a cohort.
        workers: How many cohorts can train at once.
        fitting: How many runs with such a spec fit into a worker's memory together; no limit if not given.
    """
    groups: dict[str, list[int]] = {}

    # A study has few settings and many seeds.
    @cache
    def shared(optimizer: str) -> str:
        return json.dumps(optimizer_of(OptimizerSpec.model_validate_json(optimizer)).shared(), sort_keys=True)

    for position, spec in enumerate(specs):
        groups.setdefault(_group_key(spec, shared), []).append(position)
    cohorts: list[list[int]] = []
    for group in groups.values():
        fits = cohort_size if fitting is None else fitting(specs[group[0]])
        limit = max(1, min(cohort_size, _COORDINATES // size, fits))
        cohorts += _parts(group, -(-len(group) // limit))
    while len(cohorts) < workers:
        widest = max(range(len(cohorts)), key=lambda i: len(cohorts[i]))
        if len(cohorts[widest]) == 1:
            break
        cohorts[widest : widest + 1] = _parts(cohorts[widest], 2)
    return cohorts


def _group_key(spec: RunSpec, shared: Callable[[str], str]) -> str:
    """A key that is equal for runs that can train in lock-step; `shared` gives what their optimizers must share."""
    rest = spec.model_dump(mode="json", exclude={"name", "seed", "optimizer"})
    return json.dumps([spec.optimizer.name, shared(spec.optimizer.model_dump_json()), rest], sort_keys=True)


def _parts(group: list[int], count: int) -> list[list[int]]:
    """`count` consecutive parts, whose lengths differ by one at most."""
    bounds = [len(group) * i // count for i in range(count + 1)]
    return [group[start:stop] for start, stop in itertools.pairwise(bounds)]


def left_to_record(runs: Iterable[RunFields], record: Resolved | None = None) -> int:
    """Estimated bytes of the steps that the runs still have to make, under `record` instead of their own if given."""
    return sum(
        recorded_bytes(
            record or run.record,
            size=sum(math.prod(tensor["shape"]) for tensor in run.tensors),
            tensors=len(run.tensors),
            steps=max(0, run.total_steps - run.step),
            itemsize=8 if run.precision == "float64" else 4,
        )
        for run in runs
    )


def require_room(store: Store, runs: Sequence[RunFields]) -> None:
    """Raises DiskFull where the records of these runs alone need more than is free."""
    room = store.room()
    if room is None:
        return
    (folder, free), needed = room, left_to_record(runs)
    if needed <= free:
        return
    least = left_to_record(runs, "replay")
    instead = f"; record='replay' would record {readable_size(least)}" if least <= free else ""
    raise DiskFull(
        f"submission: would record about {readable_size(needed)}, and {readable_size(free)} are free in {folder}"
        f"{instead}; make room, or ask for fewer steps or runs"
    )


def readable_size(count: int) -> str:
    """Bytes with a unit: 312 kB, 4.6 MB, 187 MB."""
    if count < 1_000_000:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:.1f} MB" if count < 100_000_000 else f"{count / 1e6:.0f} MB"
