"""Keys, reservations, attempts, and which run a search belongs to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for column in (
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("run", sa.Text, nullable=False, server_default=""),
        sa.Column("reserved", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("bytes", sa.BigInteger, nullable=False, server_default="0"),
    ):
        op.add_column("spex_searches", column)
    op.execute("UPDATE spex_searches SET bytes = length(body)")
    op.create_index("spex_searches_state", "spex_searches", ["state", "created"])
    op.create_index("spex_usage_owner", "spex_usage", ["owner", "at"])
    op.create_table(
        "spex_keys",
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("concurrency", sa.Integer, nullable=False),
        sa.Column("tokens", sa.BigInteger),
        sa.Column("waste", sa.BigInteger),
        sa.Column("window_seconds", sa.Double, nullable=False),
        sa.Column("storage", sa.BigInteger),
        sa.Column("metrics", sa.Boolean, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double),
        sa.Column("revoked", sa.Double),
        sa.Column("used", sa.Double),
    )
