"""Searches and what they have cost: as the first release made them, which kept no version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "spex_searches",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_index(
        "spex_searches_owner", "spex_searches", ["owner", "created"], if_not_exists=True
    )
    op.create_table(
        "spex_usage",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("useful", sa.BigInteger, nullable=False),
        sa.Column("wasted", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
