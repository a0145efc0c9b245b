"""Runs the migrations in a connection that the gateway has opened."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="spex_schema_version",
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
