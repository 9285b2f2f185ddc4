"""Several names for one dataset, and several versions under one name."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | Sequence[str] | None = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table of names; each dataset so far is version 1 of its name."""
    op.create_table(
        "dataset_names",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_dataset_names"),
        sa.ForeignKeyConstraint(["digest"], ["datasets.digest"], name="fk_dataset_names_digest"),
    )
    op.create_index("ix_dataset_names_digest", "dataset_names", ["digest"])
    op.execute(
        "INSERT INTO dataset_names (name, version, digest, created_at) SELECT name, 1, digest, created_at FROM datasets"
    )


def downgrade() -> None:
    """Drop the names; a dataset keeps the first one, and a later version is called mine@2."""
    op.drop_table("dataset_names")
