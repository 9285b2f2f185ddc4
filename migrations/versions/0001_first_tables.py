"""The first tables: runs, studies, cohorts, what runs record, tokens, submissions."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels = None
depends_on = None

_ID = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")
_INSTANT = sa.DateTime(timezone=True)
_JSON = sa.JSON(none_as_null=True)
_RECORDS = ("steps", "evaluations", "derivatives", "chunks", "checkpoints")


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "laboratory",
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_laboratory"),
    )
    op.create_table(
        "studies",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("spec", _JSON, nullable=False),
        sa.Column("mlflow_experiment_id", sa.String(64)),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
        sa.UniqueConstraint("name", name="uq_studies_name"),
    )
    op.create_table(
        "cohorts",
        sa.Column("id", _ID, nullable=False),
        sa.Column("study_id", _ID),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("owner", sa.String(300)),
        sa.Column("owner_since", _INSTANT),
        sa.Column("lease_until", _INSTANT),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("queued_at", _INSTANT, nullable=False),
        sa.Column("published_at", _INSTANT),
        sa.Column("publications", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cohorts"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_cohorts_study_id"),
        sa.CheckConstraint("state IN ('queued', 'leased', 'finished', 'quarantined')", name=op.f("ck_cohorts_state")),
    )
    op.create_index("ix_cohorts_state", "cohorts", ["state", "lease_until"])
    _create_runs()
    _create_records()
    op.create_table(
        "datasets",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("shape", _JSON, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_datasets"),
        sa.UniqueConstraint("name", name="uq_datasets_name"),
    )
    op.create_table(
        "tokens",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("scopes", _JSON, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT),
        sa.Column("revoked_at", _INSTANT),
        sa.PrimaryKeyConstraint("digest", name="pk_tokens"),
    )
    op.create_table(
        "submissions",
        sa.Column("idempotency_key", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("answer", _JSON, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("idempotency_key", name="pk_submissions"),
    )


def downgrade() -> None:
    """Drop every table, those with foreign keys first."""
    for table in ("submissions", "tokens", "datasets", *reversed(_RECORDS), "runs", "cohorts", "studies", "laboratory"):
        op.drop_table(table)


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("study_id", _ID),
        sa.Column("cohort_id", _ID, nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("spec", _JSON, nullable=False),
        sa.Column("spec_digest", sa.String(64), nullable=False),
        sa.Column("problem", sa.String(200), nullable=False),
        sa.Column("optimizer", sa.String(200), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("precision", sa.String(16), nullable=False),
        sa.Column("record", sa.String(16), nullable=False),
        sa.Column("total_steps", sa.Integer, nullable=False),
        sa.Column("tensors", _JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stop_reason", sa.String(16)),
        sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("step", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("cost", sa.Double),
        sa.Column("best_cost", sa.Double),
        sa.Column("parent_run_id", _ID),
        sa.Column("parent_step", sa.Integer),
        sa.Column("numerics", _JSON),
        sa.Column("error", sa.Text),
        sa.Column("mlflow_run_id", sa.String(64)),
        sa.Column("mirrored_step", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("mirrored_state", sa.String(16)),
        sa.Column("mirrored_at", _INSTANT, nullable=False),
        sa.Column("unmirrored", sa.Boolean, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("started_at", _INSTANT),
        sa.Column("finished_at", _INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("name", name="uq_runs_name"),
        sa.UniqueConstraint("cohort_id", "row", name="uq_runs_cohort_id_row"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_runs_study_id"),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.id"], name="fk_runs_cohort_id"),
        sa.ForeignKeyConstraint(["parent_run_id"], ["runs.id"], name="fk_runs_parent_run_id"),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'finished', 'failed', 'cancelled')", name=op.f("ck_runs_state")
        ),
    )
    op.create_index("ix_runs_study_id_state", "runs", ["study_id", "state", "id"])
    op.create_index("ix_runs_study_id_id", "runs", ["study_id", "id"])
    op.create_index("ix_runs_state_id", "runs", ["state", "id"])
    op.create_index("ix_runs_parent_run_id", "runs", ["parent_run_id"])
    op.create_index(
        "ix_runs_unmirrored",
        "runs",
        ["mirrored_at", "id"],
        sqlite_where=sa.text("unmirrored = 1"),
        postgresql_where=sa.text("unmirrored"),
    )


def _create_records() -> None:
    _create_record(
        "steps",
        ("step",),
        sa.Column("step", sa.Integer, nullable=False),
        *_doubles("cost", "learning_rate", "gradient_norm", "parameter_norm", "update_norm"),
    )
    _create_record(
        "evaluations",
        ("step", "split"),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("split", sa.String(32), nullable=False),
        *_doubles("cost", "metric"),
    )
    _create_record(
        "derivatives",
        ("step", "tensor", "position"),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("tensor", sa.String(200), nullable=False),
        sa.Column("position", sa.String(64), nullable=False),
        *_doubles("parameter", "derivative", "update"),
    )
    _create_record(
        "chunks",
        ("quantity", "first_step"),
        sa.Column("quantity", sa.String(16), nullable=False),
        sa.Column("first_step", sa.Integer, nullable=False),
        sa.Column("steps", sa.Integer, nullable=False),
        sa.Column("codec", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        payload=True,
    )
    _create_record(
        "checkpoints",
        ("step",),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("kept", sa.Boolean, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        payload=True,
    )


def _doubles(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double) for name in names]


def _create_record(name: str, key: Sequence[str], *columns: sa.Column[Any], payload: bool = False) -> None:
    """A table of runs' rows. SQLite stores small rows in key order; PostgreSQL does not compress payloads again."""
    op.create_table(
        name,
        sa.Column("run_id", _ID, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("run_id", *key, name=f"pk_{name}"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=f"fk_{name}_run_id"),
        sqlite_with_rowid=payload,
    )
    if payload and op.get_bind().dialect.name == "postgresql":
        op.execute(f'ALTER TABLE "{name}" ALTER COLUMN payload SET STORAGE EXTERNAL')
