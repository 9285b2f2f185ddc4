"""Access for several users: limits of tokens, the token of each cohort, uploaded datasets, counters."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | Sequence[str] | None = "0004"
branch_labels = None
depends_on = None

_ID = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")
_INSTANT = sa.DateTime(timezone=True)
_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    """Create the datasets table again: no earlier version wrote to it."""
    op.add_column("tokens", sa.Column("limits", _JSON))
    op.create_table(
        "charges",
        sa.Column("cohort_id", _ID, nullable=False),
        sa.Column("token", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("cohort_id", name="pk_charges"),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.id"], name="fk_charges_cohort_id"),
    )
    op.create_index("ix_charges_token", "charges", ["token"])
    op.create_table(
        "counters",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.drop_table("datasets")
    op.create_table(
        "datasets",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("shape", _JSON, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("token", sa.String(64)),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_datasets"),
        sa.UniqueConstraint("name", name="uq_datasets_name"),
    )
    op.create_index("ix_datasets_token", "datasets", ["token"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE datasets ALTER COLUMN payload SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Drop uploaded datasets; runs on them keep their records."""
    op.drop_table("datasets")
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
    op.drop_table("counters")
    op.drop_table("charges")
    op.drop_column("tokens", "limits")
