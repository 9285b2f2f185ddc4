"""The schema: tables, and column types and clock expressions with one meaning on SQLite and PostgreSQL.

Migrations create the tables; `alembic check` verifies that both agree.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Dialect,
    Double,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    literal,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ColumnElement, FunctionElement
from sqlalchemy.types import TypeDecorator

# PostgreSQL compares ids by their bytes; a locale's order would be slower and could differ between machines.
Id = String(36).with_variant(String(36, collation="C"), "postgresql")
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# None is SQL's NULL, never JSON's null.
_Json = JSON(none_as_null=True)

laboratory = Table(
    "laboratory",
    metadata,
    Column("key", String(100), primary_key=True),
    Column("value", Text, nullable=False),
)


def upsert(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT with ON CONFLICT, in the dialect of the connection's database."""
    return (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(table)


class Instant(TypeDecorator[datetime]):
    """A time: aware and in UTC in Python, `timestamptz` on PostgreSQL, text in UTC on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC, since SQLite's text has no zone."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The time with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class FromNow(FunctionElement[datetime]):
    """The database's clock plus a number of seconds, or an SQL expression of one."""

    type = Instant()
    inherit_cache = True

    def __init__(self, seconds: float | ColumnElement[Any] = 0.0) -> None:
        """`seconds` may be negative."""
        super().__init__(seconds if isinstance(seconds, ColumnElement) else literal(float(seconds), Float))


@compiles(FromNow, "sqlite")
def _sqlite(element: FromNow, compiler: SQLCompiler, **kw: Any) -> str:
    # The format in which SQLAlchemy keeps a time as text, so that comparing texts compares times.
    seconds = compiler.process(element.clause_expr, **kw)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {seconds} || ' seconds')"


@compiles(FromNow, "postgresql")
def _postgresql(element: FromNow, compiler: SQLCompiler, **kw: Any) -> str:
    # Not now(): that is when the transaction began, and it may have waited for a lock since then.
    seconds = compiler.process(element.clause_expr, **kw)
    return f"(clock_timestamp() + make_interval(secs => {seconds}))"


def _flag(name: str) -> Column[bool]:
    """False unless set."""
    return Column(name, Boolean, nullable=False, server_default=false())


def _number_key(name: str) -> Column[int]:
    """An integer of the primary key, without auto-increment."""
    return Column(name, Integer, primary_key=True, autoincrement=False)


def _digest_and_payload() -> tuple[Column[str], Column[bytes]]:
    return Column("digest", String(64), nullable=False), Column("payload", LargeBinary, nullable=False)


studies = Table(
    "studies",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("spec", _Json, nullable=False),
    Column("mlflow_experiment_id", String(64)),
    # MLflow has the study's ranking, figures and report.
    _flag("mlflow_told"),
    Column("created_at", Instant, nullable=False),
    # More runs are added when the present ones have ended.
    _flag("open"),
    UniqueConstraint("name"),
)

cohorts = Table(
    "cohorts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("study_id", Id, ForeignKey("studies.id")),
    Column("state", String(16), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("owner", String(300)),
    Column("owner_since", Instant),
    Column("lease_until", Instant),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("queued_at", Instant, nullable=False),
    Column("published_at", Instant),
    Column("publications", Integer, nullable=False),
    # Chosen by the worker before it claims: when the answer is lost, the worker finds its claim by this id.
    Column("claim_id", String(36)),
    # No worker claims it until it is unpaused.
    _flag("paused"),
    CheckConstraint("state IN ('queued', 'leased', 'finished', 'quarantined')", name="state"),
    # The reconciler reads the few queued or leased cohorts every few seconds.
    Index("ix_cohorts_state", "state", "lease_until"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("study_id", Id, ForeignKey("studies.id")),
    Column("cohort_id", Id, ForeignKey("cohorts.id"), nullable=False),
    Column("row", Integer, nullable=False),
    Column("spec", _Json, nullable=False),
    Column("spec_digest", String(64), nullable=False),
    Column("problem", String(200), nullable=False),
    Column("optimizer", String(200), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("precision", String(16), nullable=False),
    Column("record", String(16), nullable=False),
    Column("total_steps", Integer, nullable=False),
    Column("tensors", _Json, nullable=False),
    Column("state", String(16), nullable=False),
    Column("stop_reason", String(16)),
    _flag("cancel_requested"),
    _flag("paused"),
    Column("step", Integer, nullable=False, server_default=text("0")),
    Column("cost", Double),
    Column("best_cost", Double),
    # Seconds of its recorded steps, its share of its cohort's.
    Column("trained_seconds", Double, nullable=False, server_default=text("0")),
    Column("parent_run_id", Id, ForeignKey("runs.id")),
    Column("parent_step", Integer),
    Column("numerics", _Json),
    Column("error", Text),
    Column("mlflow_run_id", String(64)),
    Column("mirrored_step", Integer, nullable=False, server_default=text("0")),
    Column("mirrored_state", String(16)),
    # When the mirror last read the run, at first when it was created: the oldest is mirrored first.
    Column("mirrored_at", Instant, nullable=False),
    # The outbox: the run has commits that the mirror has not confirmed.
    Column("unmirrored", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    # Problem, optimizer, stage and trial in its study.
    Column("part", _Json),
    UniqueConstraint("name"),
    UniqueConstraint("cohort_id", "row"),
    CheckConstraint("state IN ('queued', 'running', 'finished', 'failed', 'cancelled')", name="state"),
    # Pages: newest first, by study, by state, by both. The index alone also gives the counts of a study's page.
    Index("ix_runs_study_id_state", "study_id", "state", "id"),
    Index("ix_runs_study_id_id", "study_id", "id"),
    Index("ix_runs_state_id", "state", "id"),
    Index("ix_runs_parent_run_id", "parent_run_id"),
    Index(
        "ix_runs_unmirrored",
        "mirrored_at",
        "id",
        # Written as the queries of each dialect write it, or the index is not used.
        sqlite_where=text("unmirrored = 1"),
        postgresql_where=text("unmirrored"),
    ),
)


def _recorded(name: str, *columns: Column[Any] | Index, sqlite_with_rowid: bool = False, many: bool = False) -> Table:
    """A table of what runs recorded. SQLite stores small rows in the order of their key, without a second tree.

    A table of `many` small rows has no foreign key: checking it row by row took PostgreSQL more than half of the time
    of writing them. A commit checks its runs once, and no run is ever deleted.
    """
    key = () if many else (ForeignKey("runs.id"),)
    run_id: Column[str] = Column("run_id", Id, *key, primary_key=True)
    return Table(name, metadata, run_id, *columns, sqlite_with_rowid=sqlite_with_rowid)


# NULL stands for NaN: SQLite has no NaN, and one query should mean the same on both databases.
steps = _recorded(
    "steps",
    _number_key("step"),
    Column("cost", Double),
    Column("learning_rate", Double),
    Column("gradient_norm", Double),
    Column("parameter_norm", Double),
    Column("update_norm", Double),
    many=True,
)

evaluations = _recorded(
    "evaluations",
    _number_key("step"),
    Column("split", String(32), primary_key=True),
    Column("cost", Double),
    Column("metric", Double),
)

derivatives = _recorded(
    "derivatives",
    _number_key("step"),
    Column("tensor", String(200), primary_key=True),
    Column("position", String(64), primary_key=True),
    Column("parameter", Double),
    Column("derivative", Double),
    Column("update", Double),
    many=True,
)

chunks = _recorded(
    "chunks",
    Column("quantity", String(16), primary_key=True),
    _number_key("first_step"),
    Column("steps", Integer, nullable=False),
    Column("codec", String(32), nullable=False),
    *_digest_and_payload(),
    sqlite_with_rowid=True,
)

checkpoints = _recorded(
    "checkpoints",
    _number_key("step"),
    # One that is not kept is replaced by the next.
    Column("kept", Boolean, nullable=False),
    *_digest_and_payload(),
    sqlite_with_rowid=True,
)

datasets = Table(
    "datasets",
    metadata,
    # Of the unpacked payload: equal data has one digest, whichever compressor packed it.
    Column("digest", String(64), primary_key=True),
    # The name and version under which it was first uploaded: mine, mine@2.
    Column("name", String(200), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("shape", _Json, nullable=False),
    # Bytes unpacked: what a reader may allocate, and what is charged to a token's quota.
    Column("size", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("token", String(64), index=True),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("name"),
)

# Optimizers that users of a local laboratory wrote: the source by its digest, and the name that specs use.
rules = Table(
    "rules",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("source", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("name"),
)

# Every name of every dataset: other data under a name is its next version, the same data under another name an alias.
dataset_names = Table(
    "dataset_names",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), ForeignKey("datasets.digest"), nullable=False, index=True),
    Column("created_at", Instant, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("scopes", _Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    # Its quota, where that differs from the settings' limits.
    Column("limits", _Json),
)

# Load of a cohort's worker on its machine: `number` counts the samples of one claim, which `fence` names.
samples = Table(
    "samples",
    metadata,
    Column("cohort_id", Id, ForeignKey("cohorts.id"), primary_key=True),
    _number_key("fence"),
    _number_key("number"),
    Column("taken_at", Instant, nullable=False),
    # Percent of one core, and bytes.
    Column("processor", Double, nullable=False),
    Column("memory", BigInteger, nullable=False),
)

# The token that a cohort is charged to, by the token's digest.
charges = Table(
    "charges",
    metadata,
    Column("cohort_id", Id, ForeignKey("cohorts.id"), primary_key=True),
    Column("token", String(64), nullable=False, index=True),
)

# Counters that are never reset, by name: how often a lease was lost.
counters = Table(
    "counters",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

submissions = Table(
    "submissions",
    metadata,
    Column("idempotency_key", String(200), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("answer", _Json, nullable=False),
    Column("created_at", Instant, nullable=False),
)

# Roles that one process at a time does the work of: which process, and until when its lease lasts.
leaders = Table(
    "leaders",
    metadata,
    Column("role", String(64), primary_key=True),
    Column("owner", String(300), nullable=False),
    Column("lease_until", Instant, nullable=False),
)
