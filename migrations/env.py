"""Runs the migrations on the connection that `rotator.adapters.database.migrate` hands over, inside its transaction."""

from alembic import context

from rotator.adapters.database.partial_indexes import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
