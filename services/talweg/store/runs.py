"""Runs: submit, find and list them; and the outbox, the runs that MLflow does not have completely yet."""

import difflib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, Row, Table, bindparam, func, insert, or_, select, update

from talweg.errors import Conflict, InvalidSpec
from talweg.store import codec, finding, queueing, tables
from talweg.store.batch import Checkpoint, NewCohort, NewRun, NewStudy
from talweg.store.finding import chosen_runs, portions
from talweg.store.rows import RUN_STATES, Page, RunRow, RunState, Submitted
from talweg.store.tables import FromNow

_RUNS = tables.runs
COLUMNS = [column for column in _RUNS.c if column.name not in ("mirrored_at", "unmirrored")]
_STUDIES = tables.studies
_SUBMISSIONS = tables.submissions


def row_of(row: Row[tuple[object, ...]]) -> RunRow:
    """A RunRow from a row of COLUMNS."""
    return RunRow(**row._mapping)


def submit(
    connection: Connection,
    study: NewStudy | None,
    runs: Sequence[NewRun],
    cohorts: Sequence[NewCohort],
    key: str | None,
    checkpoints: Sequence[Checkpoint] = (),
) -> Submitted:
    """Write everything, or return the answer to the key's first submission; raises Conflict."""
    answer = Submitted(
        None if study is None else study.id, tuple(run.id for run in runs), tuple(cohort.id for cohort in cohorts)
    )
    if key is not None:
        earlier = _remember(connection, key, _digest(study, runs), answer)
        if earlier is not None:
            return earlier
    if study is not None:
        _refuse_taken(connection, tables.studies, "study", [study.name])
        connection.execute(insert(tables.studies).values(**asdict(study), created_at=FromNow()))
    add(connection, runs, cohorts)
    if checkpoints:
        rows = [vars(made) | {"digest": codec.digest_of(made.payload)} for made in checkpoints]
        connection.execute(insert(tables.checkpoints), rows)
    return answer


def add(connection: Connection, runs: Sequence[NewRun], cohorts: Sequence[NewCohort]) -> None:
    """Write runs with their cohorts, queued; raises Conflict where a name is taken."""
    _refuse_taken(connection, _RUNS, "run", [run.name for run in runs])
    now = queueing.add_cohorts(connection, cohorts)
    if runs:
        waiting = {"state": "queued", "unmirrored": True, "created_at": now, "mirrored_at": now}
        # vars, not asdict: that would copy every spec, key by key.
        connection.execute(insert(_RUNS), [waiting | vars(run) for run in runs])


def find(connection: Connection, id_or_name: str) -> RunRow:
    """By id, then name; raises NotFound."""
    identity = finding.identify(connection, _RUNS, "run", id_or_name)
    return row_of(connection.execute(select(*COLUMNS).where(_RUNS.c.id == identity)).one())


def page(
    connection: Connection,
    study: str | None,
    state: RunState | None,
    limit: int,
    cursor: str | None,
    *,
    oldest: bool = False,
) -> Page[RunRow]:
    """Newest or oldest first; raises NotFound for the study, InvalidSpec for the rest."""
    query = select(*COLUMNS)
    if study is not None:
        query = query.where(_RUNS.c.study_id == finding.identify(connection, tables.studies, "study", study))
    if state is not None:
        if state not in RUN_STATES:
            near = difflib.get_close_matches(state, RUN_STATES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InvalidSpec(f"state: must be one of {', '.join(RUN_STATES)}, got {state[:80]!r}{hint}")
        query = query.where(_RUNS.c.state == state)
    query = finding.page_query(query, _RUNS.c.id, limit, cursor, oldest=oldest)
    found = [row_of(row) for row in connection.execute(query)]
    return finding.page_of(found, [run.id for run in found], limit)


def of_study(connection: Connection, study_id: str) -> list[RunRow]:
    """In the order in which they were created, which is that of the spec."""
    query = select(*COLUMNS).where(_RUNS.c.study_id == study_id).order_by(_RUNS.c.id)
    return [row_of(row) for row in connection.execute(query)]


def _remember(connection: Connection, key: str, digest: str, answer: Submitted) -> Submitted | None:
    """Store the answer under its key, or return the stored one; waits for a concurrent submission with the key."""
    if not finding.storable(key) or not 1 <= len(key) <= 200:
        raise InvalidSpec("Idempotency-Key: must have 1 to 200 characters, and no NUL")
    row = tables.upsert(connection, _SUBMISSIONS).values(
        idempotency_key=key,
        digest=digest,
        answer={"study_id": answer.study_id, "run_ids": answer.run_ids, "cohort_ids": answer.cohort_ids},
        created_at=FromNow(),
    )
    if connection.execute(row.on_conflict_do_nothing().returning(_SUBMISSIONS.c.digest)).first() is not None:
        return None
    earlier = connection.execute(select(_SUBMISSIONS).where(_SUBMISSIONS.c.idempotency_key == key)).one()
    if earlier.digest != digest:
        raise Conflict(f"Idempotency-Key {key!r}: was used for another submission")
    first = earlier.answer
    return Submitted(first["study_id"], tuple(first["run_ids"]), tuple(first["cohort_ids"]), repeated=True)


def _digest(study: NewStudy | None, runs: Sequence[NewRun]) -> str:
    """Of the specs alone: each attempt has new ids, and may have new names."""
    requested = [None if study is None else study.spec | {"name": None}, sorted(run.spec_digest for run in runs)]
    return hashlib.sha256(json.dumps(requested, sort_keys=True).encode()).hexdigest()


def _refuse_taken(connection: Connection, table: Table, kind: str, names: Sequence[str]) -> None:
    """Of two that take a name at the same time, the unique constraint refuses one; the Store translates its error."""
    for some in portions(names):
        taken = connection.execute(select(table.c.name).where(table.c.name.in_(some)).limit(1)).scalar()
        if taken is not None:
            raise Conflict(f"{kind} {taken}: the name is taken; choose another name")
    if len(set(names)) != len(names):
        raise Conflict(f"{kind}: each name must differ from the others")


def outbox(connection: Connection, limit: int) -> list[RunRow]:
    """Runs that are not mirrored completely; the longest waiting first, so that each gets its turn."""
    query = select(*COLUMNS).where(_RUNS.c.unmirrored).order_by(_RUNS.c.mirrored_at, _RUNS.c.id).limit(limit)
    return [row_of(row) for row in connection.execute(query)]


def mark_mirrored(connection: Connection, sent: Sequence[tuple[str, int, str | None, RunState]]) -> None:
    """Remove runs from the outbox, unless they have commits since the mirror read them.

    `sent` holds of each run its id, how many of its steps MLflow has, the id of its MLflow run and the state sent.
    """
    if not sent:
        return
    connection.execute(
        update(_RUNS)
        .where(_RUNS.c.id == bindparam("run"))
        .values(
            mirrored_step=bindparam("sent_step"),
            mirrored_state=bindparam("sent_state"),
            mirrored_at=FromNow(),
            mlflow_run_id=func.coalesce(bindparam("sent_id", type_=_RUNS.c.mlflow_run_id.type), _RUNS.c.mlflow_run_id),
            unmirrored=or_(_RUNS.c.step > bindparam("sent_step"), _RUNS.c.state != bindparam("sent_state")),
        ),
        [
            {"run": run, "sent_step": step, "sent_id": mlflow_run_id, "sent_state": state}
            for run, step, mlflow_run_id, state in sent
        ],
    )
    # A study whose report MLflow has is reported again when a run of it is mirrored again.
    for some in portions([run for run, *_ in sent]):
        theirs = select(_RUNS.c.study_id).where(_RUNS.c.id.in_(some))
        reported = _STUDIES.c.id.in_(theirs) & _STUDIES.c.mlflow_told
        connection.execute(update(_STUDIES).where(reported).values(mlflow_told=False))


def mirror_again(connection: Connection, run_ids: Sequence[str], study: str | None) -> int:
    """Reset them to never mirrored; returns how many. Raises NotFound."""
    anew = {"mlflow_run_id": None, "mirrored_step": 0, "mirrored_state": None, "unmirrored": True}
    found = 0
    for which in chosen_runs(connection, run_ids, study):
        found += connection.execute(update(_RUNS).where(which).values(**anew, mirrored_at=FromNow())).rowcount
    return found
