"""Samples of the load of each cohort's worker, shown with its runs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | Sequence[str] | None = "0006"
branch_labels = None
depends_on = None

_ID = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")


def upgrade() -> None:
    """Add a table with one row for each sample."""
    op.create_table(
        "samples",
        sa.Column("cohort_id", _ID, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("processor", sa.Double, nullable=False),
        sa.Column("memory", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("cohort_id", "fence", "number", name="pk_samples"),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.id"], name="fk_samples_cohort_id"),
    )


def downgrade() -> None:
    """Drop the samples; runs keep everything else."""
    op.drop_table("samples")
