"""The sources of users' own optimizers, by digest."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | Sequence[str] | None = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table with one row for each rule."""
    op.create_table(
        "rules",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_rules"),
        sa.UniqueConstraint("name", name="uq_rules_name"),
    )


def downgrade() -> None:
    """Drop the sources: runs of such rules can be read, but no longer recomputed or continued."""
    op.drop_table("rules")
