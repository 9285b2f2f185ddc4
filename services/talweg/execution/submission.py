"""Submit runs and studies: check specs by the engine, commit, then publish; and add the next stages of studies.

All rows of a submission are written in one transaction. Where publishing fails, the reconciler does it later. An open
study without a live run is due for its next stage. A worker checks after each finished cohort, the reconciler at each
pass; where both do, one conditional UPDATE decides which of them adds the runs.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog
from uuid_utils.compat import uuid7

from talweg import queue
from talweg.comparison.from_store import results_of
from talweg.comparison.stages import next_stage
from talweg.comparison.tuning import Stage
from talweg.datasets.sources import with_digest
from talweg.errors import Conflict, CorruptRecord, InvalidSpec, NotFound, Unreachable
from talweg.execution.planning import plan, require_room
from talweg.records.coordinates import size_of
from talweg.records.from_spec import fitting, normalise, normalise_study, problem_of
from talweg.rules import with_sources
from talweg.settings import Settings
from talweg.settings import settings as process_settings
from talweg.spec import Planned, RunSpec, StudySpec
from talweg.store import (
    Checkpoint,
    Extension,
    NewCohort,
    NewRun,
    NewStudy,
    ResumedRun,
    RunRow,
    Store,
    StudyRow,
    Submitted,
)
from talweg.store.batch import checkpoint_every, resolve

log = structlog.get_logger(__name__)

Publish = Callable[[str], None]

Row = TypeVar("Row")

# Characters of a study's name with which the names of its runs start.
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
    """Write one run and publish its cohort; where an equal run has the name, return that run.

    Raises:
        InvalidSpec: The engine refuses a name, range or shape; nothing was written.
        Conflict: The name or the key belongs to another run.
        DiskFull: The run would record more than is free.
    """
    chosen = settings or process_settings()
    with_sources(store, [spec.optimizer], chosen.rules)
    filled = normalise(with_digest(store, spec))
    if idempotency_key is None and (existing := equal_run(store, spec.name, filled.digest)):
        return existing
    name = spec.name or random_name(filled.optimizer.name, problem_of(filled).name)
    runs = _Runs([filled], [name], None)
    submitted = runs.submit(store, None, idempotency_key, publish, chosen)
    return store.run(submitted.run_ids[0])


def submit_study(
    store: Store,
    spec: StudySpec,
    *,
    idempotency_key: str | None = None,
    publish: Publish = queue.publish,
    settings: Settings | None = None,
) -> StudyRow:
    """Write a study with the runs of its first stage and publish their cohorts; raises as `submit_run` does.

    Where an equal study has the name, its cancelled and failed runs are resumed.
    """
    chosen = settings or process_settings()
    with_sources(store, spec.optimizers, chosen.rules)
    filled = normalise_study(with_digest(store, spec))
    existing = find_named(store.study, spec.name) if idempotency_key is None else None
    if existing is not None:
        if _requested(StudySpec.model_validate(existing.spec)) != _requested(filled):
            raise Conflict(f"study {spec.name}: the name belongs to another study, {existing.id}; choose another name")
        return resume_study(store, existing, publish=publish)
    name = spec.name or random_name("study" if filled.problems else filled.problem_names()[0])
    study = NewStudy(str(uuid7()), name, filled.content, filled.staged)
    planned = filled.planned()
    runs = _Runs([each.spec for each in planned], run_names(name, filled, planned), study.id, planned)
    submitted = runs.submit(store, study, idempotency_key, publish, chosen)
    assert submitted.study_id is not None
    return store.study(submitted.study_id)


def _requested(spec: StudySpec) -> StudySpec:
    """The spec without its name and its drawn points: another version may draw other points."""
    search = spec.search and spec.search.model_copy(update={"points": None})
    return spec.model_copy(update={"name": None, "search": search})


def resume_study(store: Store, study: StudyRow, *, publish: Publish = queue.publish) -> StudyRow:
    """Queue cancelled and failed runs again, and reopen the study for its next stage; finished runs do not change."""
    runs = store.runs_of(study.id)
    # A run that reached its time limit would reach it again.
    interrupted = [run for run in runs if run.state in ("cancelled", "failed") and run.stop_reason != "time"]
    spec = StudySpec.model_validate(study.spec)
    if not interrupted and not (_grows(spec) and not study.open and _has_more(store, study, spec)):
        return study
    # Runs of a cohort train in lock-step: runs that stopped at different steps need different cohorts.
    groups: dict[tuple[str, int], list[str]] = {}
    for run in interrupted:
        groups.setdefault((run.cohort_id, run.step), []).append(run.id)
    unfinished = _grows(spec) or (spec.staged and all((run.part or {}).get("stage") == "tuning" for run in runs))
    cohorts = {str(uuid7()): run_ids for run_ids in groups.values()}
    publish_all(store, store.resume_study(study.id, cohorts, reopen=unfinished), publish)
    return store.study(study.id)


def _grows(spec: StudySpec) -> bool:
    """Whether what follows depends on the runs before it, as often as there are stages."""
    return spec.adaptive or spec.until_settled is not None


def _has_more(store: Store, study: StudyRow, spec: StudySpec) -> bool:
    """Whether a stage is left, where the study was cancelled between two stages."""
    return not next_stage(spec, results_of(store, study)).empty


def extend_study(
    store: Store,
    study: StudyRow,
    stage: Stage,
    *,
    publish: Publish = queue.publish,
    settings: Settings | None = None,
) -> bool:
    """Write and publish a study's next stage, computed from `study` and its runs; false where another process did."""
    spec, chosen = StudySpec.model_validate(study.spec), settings or process_settings()
    specs = [each.spec for each in stage.new]
    runs = _Runs(specs, run_names(study.name, spec, stage.new), study.id, stage.new)
    cohorts, rows = runs.rows(chosen)
    resumed = _resumed(store, study, stage.going, chosen)
    extension = Extension(rows, cohorts, resumed, stage.pruned, stage.last, study.runs, study.steps_total)
    if not store.extend_study(study.id, extension):
        return False
    publish_all(store, [*(cohort.id for cohort in cohorts), *resumed], publish)
    return True


def _resumed(
    store: Store, study: StudyRow, until: Mapping[str, int], settings: Settings
) -> dict[str, list[ResumedRun]]:
    """The runs to resume, by new cohort: runs of one problem and optimizer at the same step share one."""
    by_step: dict[tuple[int, int], list[RunRow]] = {}
    for run in store.runs_of(study.id) if until else ():
        if run.id in until:
            by_step.setdefault((run.step, until[run.id]), []).append(run)
    found = {}
    for (step, steps), runs in by_step.items():
        for positions in plan_all([RunSpec.model_validate(run.spec) for run in runs], settings):
            found[str(uuid7())] = [
                ResumedRun(run.id, step, steps, step % checkpoint_every(run.record, size_of(run), steps) == 0)
                for run in (runs[position] for position in positions)
            ]
    return found


@dataclass(frozen=True)
class _Runs:
    """New runs: normalised specs with their names, their study, and its plan."""

    specs: Sequence[RunSpec]
    names: Sequence[str]
    study_id: str | None
    planned: Sequence[Planned] | None = None

    def submit(
        self, store: Store, study: NewStudy | None, key: str | None, publish: Publish, settings: Settings
    ) -> Submitted:
        """Commit, then publish."""
        cohorts, rows = self.rows(settings)
        return write(store, study, rows, cohorts, key, publish)

    def rows(self, settings: Settings) -> tuple[list[NewCohort], list[NewRun]]:
        """The cohorts and runs to write."""
        planned = plan_all(self.specs, settings)
        cohorts = [NewCohort(str(uuid7()), self.study_id) for _ in planned]
        assigned = {
            position: (cohort.id, row)
            for cohort, positions in zip(cohorts, planned, strict=True)
            for row, position in enumerate(positions)
        }
        # In the order of the specs: ids grow with time, so they list a study's runs in the order of its spec.
        return cohorts, [self._row(position, *assigned[position]) for position in range(len(self.specs))]

    def _row(self, position: int, cohort_id: str, row: int) -> NewRun:
        part = None if self.planned is None else self.planned[position].part
        found = new_run(self.specs[position], self.names[position], cohort_id, row, self.study_id, part)
        until = None if self.planned is None else self.planned[position].until
        return found if until is None else replace(found, total_steps=until)


def new_run(
    spec: RunSpec,
    name: str,
    cohort_id: str,
    row: int = 0,
    study_id: str | None = None,
    part: dict[str, Any] | None = None,
) -> NewRun:
    """A new run, from its normalised spec."""
    problem = problem_of(spec)
    layout = problem.layout
    return NewRun(
        id=str(uuid7()),
        name=name,
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
            {"name": tensor, "shape": list(shape)} for tensor, shape in zip(layout.names, layout.shapes, strict=True)
        ],
        study_id=study_id,
        part=part,
    )


def plan_all(specs: Sequence[RunSpec], settings: Settings) -> list[list[int]]:
    """`plan` for specs of several problems: positions in `specs`, cohort by cohort."""
    by_problem: dict[str, list[int]] = {}
    for position, spec in enumerate(specs):
        by_problem.setdefault(spec.problem.model_dump_json(), []).append(position)
    # Workers are divided among the problems: many problems give many cohorts anyway.
    each = -(-settings.workers // max(len(by_problem), 1))
    found: list[list[int]] = []
    for positions in by_problem.values():
        own = [specs[position] for position in positions]
        size = problem_of(own[0]).layout.size
        cohorts = plan(
            own,
            size=size,
            cohort_size=settings.cohort_size,
            workers=each,
            fitting=lambda spec: fitting(spec, settings.cohort_memory),
        )
        found += [[positions[index] for index in cohort] for cohort in cohorts]
    return found


def write(
    store: Store,
    study: NewStudy | None,
    runs: Sequence[NewRun],
    cohorts: Sequence[NewCohort],
    key: str | None,
    publish: Publish,
    checkpoints: Sequence[Checkpoint] = (),
) -> Submitted:
    """Commit new work, then publish its cohorts; raises DiskFull where its records have no room."""
    require_room(store, runs)
    submitted = store.submit(study, runs, cohorts, key, checkpoints)
    if not submitted.repeated:
        publish_all(store, submitted.cohort_ids, publish)
    return submitted


def publish_all(store: Store, cohort_ids: Sequence[str], publish: Publish) -> None:
    """Publish committed cohorts; where the broker does not answer, the reconciler does it later."""
    published: list[str] = []
    try:
        for cohort_id in cohort_ids:
            publish(cohort_id)
            published.append(cohort_id)
    except Unreachable as error:
        log.warning("not published; the reconciler will", cohorts=len(cohort_ids), reason=str(error))
    if published:
        store.mark_published(published)


def equal_run(store: Store, name: str | None, digest: str) -> RunRow | None:
    """The run of that name, if there is one; raises Conflict where its digest is another."""
    existing = find_named(store.run, name)
    if existing is not None and existing.spec_digest != digest:
        raise Conflict(f"run {name}: the name belongs to another run, {existing.id}; choose another name")
    return existing


def find_named(find: Callable[[str], Row], name: str | None) -> Row | None:
    """What `find` returns for the name; None without a name, and where it raises NotFound."""
    if name is None:
        return None
    try:
        return find(name)
    except NotFound:
        return None


def random_name(*parts: str) -> str:
    """A readable name with six random characters; the store would refuse one that is taken."""
    return "-".join([*parts, "".join(secrets.choice(_LETTERS) for _ in range(6))])


def run_names(study: str, spec: StudySpec, planned: Sequence[Planned]) -> list[str]:
    """Names such as study-adam-s0, and study-adam2-s0 where a study has several settings of an optimizer.

    They also contain the problem where there are several, the learning rate while it is tuned, a search's trial.
    """
    prefix = study if len(study) <= _LONG_NAME else random_name(study[:_LONG_NAME])
    problems, optimizers = spec.problem_names(), spec.optimizer_names()
    names = []
    for each in planned:
        parts = [prefix, problems[each.problem][:40]] if spec.problems else [prefix]
        parts.append(optimizers[each.optimizer])
        if each.stage == "tuning":
            parts.append(f"lr{each.spec.optimizer.settings['learning_rate']:.6g}")
        parts.append(f"s{each.spec.seed}" if each.trial is None else f"s{each.spec.seed}-t{each.trial}")
        names.append("-".join(parts))
    return names


def extend_studies(store: Store, publish: Callable[[str], None], *, settings: Settings) -> list[str]:
    """Submit the next stage of every study that is due; the ids of those that this call extended."""
    extended = []
    for study_id in store.studies_to_extend():
        study = store.study(study_id)
        try:
            stage = next_stage(StudySpec.model_validate(study.spec), results_of(store, study))
        except (CorruptRecord, InvalidSpec) as error:
            # A study that cannot be extended must not block the others; it is logged at each pass.
            log.error("study cannot be extended", study=study.name, reason=str(error))
            continue
        if extend_study(store, study, stage, publish=publish, settings=settings):
            log.info(
                "study extended",
                study=study.name,
                runs=len(stage.new) + len(stage.going),
                pruned=len(stage.pruned),
                last=stage.last,
            )
            extended.append(study_id)
    return extended
