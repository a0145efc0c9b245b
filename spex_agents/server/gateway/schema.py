"""The gateway's tables, and how a database of an older release is brought up to them."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)

from spex_agents.errors import SettingsError

metadata = MetaData()

searches = Table(
    "spex_searches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("body", Text, nullable=False),
    # Runs begun since one has ended in order: a process that is killed leaves them counted.
    Column("attempts", Integer, nullable=False, server_default="0"),
    # The run that may save the search; that of another is told that it has lost it.
    Column("run", Text, nullable=False, server_default=""),
    # Tokens that a running search may take, held back from its key until it is settled.
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Index("spex_searches_owner", "owner", "created"),
    Index("spex_searches_state", "state", "created"),
)

usage = Table(
    "spex_usage",
    metadata,
    Column("owner", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("useful", BigInteger, nullable=False),
    Column("wasted", BigInteger, nullable=False),
    Index("spex_usage_owner", "owner", "at"),
)

keys = Table(
    "spex_keys",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("prefix", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("tokens", BigInteger),
    Column("waste", BigInteger),
    Column("window_seconds", Double, nullable=False),
    Column("storage", BigInteger),
    Column("metrics", Boolean, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("revoked", Double),
    Column("used", Double),
)


def migrate(connection: Connection) -> None:
    """Bring the tables up to this release's; new columns and tables only, so that older run on.

    Raises:
        SettingsError: A newer release has been at it.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise SettingsError(
            f"database: a newer release has changed its tables ({error}): run that one"
        ) from error
