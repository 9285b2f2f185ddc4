"""Stages of studies: whether more runs follow, and the place of each run in its study.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns; existing studies are complete, and their runs have no part."""
    op.add_column("studies", sa.Column("open", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("runs", sa.Column("part", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    """Drop both columns; a study that waits for its next stage never gets it."""
    op.drop_column("runs", "part")
    op.drop_column("studies", "open")
