"""From a spec to work that waits: checked by the engine, committed, then published.

Nothing is half-written: the rows go in as one transaction. Publishing may fail; the reconciler does it then.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog
from uuid_utils.compat import uuid7

from talweg import queue
from talweg.datasets.sources import with_digest
from talweg.errors import Conflict, NotFound, Unreachable
from talweg.execution.planning import plan
from talweg.records.policy import resolve
from talweg.records.rebuild import normalise, normalise_study, problem_of
from talweg.settings import Settings
from talweg.settings import settings as process_settings
from talweg.spec import RunSpec, StudySpec
from talweg.store import NewCohort, NewRun, NewStudy, RunRow, Store, StudyRow, Submitted

log = structlog.get_logger(__name__)

Publish = Callable[[str], None]

Row = TypeVar("Row")

# Names of a study's runs begin with its own, up to here.
_LONG_NAME = 120
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


def submit_run(
    store: Store,
    spec: RunSpec,
    *,
    idempotency_key: str | None = None,
    publish: Publish = queue.publish,
    settings: Settings | None = None,
) -> RunRow:
    """Write one run and publish its cohort; a name that stands for an equal run gives that run.

    Raises:
        InvalidSpec: A name, range or shape that the engine refuses; nothing was written.
        Conflict: The name or the key stands for something else.
    """
    filled = normalise(with_digest(store, spec))
    known = _known(store.run, spec.name) if idempotency_key is None else None
    if known is not None:
        if known.spec_digest != filled.digest:
            raise Conflict(f"run {spec.name}: the name stands for another run already, {known.id}")
        return known
    name = spec.name or _name(filled.optimizer.name, _problem_name(filled))
    runs = _Runs([filled], [name], None)
    submitted = runs.write(store, None, idempotency_key, publish, settings or process_settings())
    return store.run(submitted.run_ids[0])


def submit_study(
    store: Store,
    spec: StudySpec,
    *,
    idempotency_key: str | None = None,
    publish: Publish = queue.publish,
    settings: Settings | None = None,
) -> StudyRow:
    """Write a study with all its runs and publish its cohorts; raises as `submit_run` does."""
    filled = normalise_study(with_digest(store, spec))
    content = filled.model_dump(mode="json")
    known = _known(store.study, spec.name) if idempotency_key is None else None
    if known is not None:
        if known.spec != content:
            raise Conflict(f"study {spec.name}: the name stands for another study already, {known.id}")
        return known
    study = NewStudy(str(uuid7()), spec.name or _name(_problem_name(filled)), content)
    runs = _Runs(filled.runs(), _run_names(study.name, filled), study.id)
    submitted = runs.write(store, study, idempotency_key, publish, settings or process_settings())
    assert submitted.study_id is not None
    return store.study(submitted.study_id)


@dataclass(frozen=True)
class _Runs:
    """Normalised specs of one problem, a name for each, and the study they belong to."""

    specs: Sequence[RunSpec]
    names: Sequence[str]
    study_id: str | None

    def write(
        self, store: Store, study: NewStudy | None, key: str | None, publish: Publish, settings: Settings
    ) -> Submitted:
        """Commit, then publish what this made."""
        size = problem_of(self.specs[0]).layout.size
        planned = plan(self.specs, size=size, cohort_size=settings.cohort_size, workers=settings.workers)
        cohorts = [NewCohort(str(uuid7()), self.study_id) for _ in planned]
        places = {
            position: (cohort.id, row)
            for cohort, positions in zip(cohorts, planned, strict=True)
            for row, position in enumerate(positions)
        }
        # In the order of the specs, so that ids, which are in order of time, list a study as it was written.
        runs = [self._row(position, *places[position]) for position in range(len(self.specs))]
        submitted = store.submit(study, runs, cohorts, key)
        if not submitted.repeated:
            _publish(store, submitted.cohort_ids, publish)
        return submitted

    def _row(self, position: int, cohort_id: str, row: int) -> NewRun:
        spec = self.specs[position]
        problem = problem_of(spec)
        layout = problem.layout
        return NewRun(
            id=str(uuid7()),
            name=self.names[position],
            cohort_id=cohort_id,
            row=row,
            spec=spec.model_dump(mode="json"),
            spec_digest=spec.digest,
            problem=problem.name,
            optimizer=spec.optimizer.name,
            seed=spec.seed,
            total_steps=spec.steps,
            precision=spec.precision,
            record=resolve(spec.record, layout.size, spec.steps),
            tensors=[
                {"name": name, "shape": list(shape)} for name, shape in zip(layout.names, layout.shapes, strict=True)
            ],
            study_id=self.study_id,
        )


def _publish(store: Store, cohort_ids: Sequence[str], publish: Publish) -> None:
    published: list[str] = []
    try:
        for cohort_id in cohort_ids:
            publish(cohort_id)
            published.append(cohort_id)
    except Unreachable as error:
        log.warning("not published; the reconciler will", cohorts=len(cohort_ids), reason=str(error))
    if published:
        store.mark_published(published)


def _known(find: Callable[[str], Row], name: str | None) -> Row | None:
    if name is None:
        return None
    try:
        return find(name)
    except NotFound:
        return None


def _problem_name(spec: RunSpec | StudySpec) -> str:
    return problem_of(spec).name


def _name(*parts: str) -> str:
    """Readable, and unique enough that a collision, which the store would refuse, is not met."""
    return "-".join([*parts, "".join(secrets.choice(_LETTERS) for _ in range(6))])


def _run_names(study: str, spec: StudySpec) -> list[str]:
    """study-adam-s0; with a number where an optimizer comes in several settings: study-adam2-s0."""
    prefix = study if len(study) <= _LONG_NAME else _name(study[:_LONG_NAME])
    kinds = [optimizer.name for optimizer in spec.optimizers]
    labels = [
        kind if kinds.count(kind) == 1 else f"{kind}{kinds[: position + 1].count(kind)}"
        for position, kind in enumerate(kinds)
    ]
    return [f"{prefix}-{label}-s{seed}" for label in labels for seed in spec.seed_list()]
