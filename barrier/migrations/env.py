"""How Alembic runs the migrations: on the connection, and inside the transaction, of `barrier.schema`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None, transactional_ddl=False)
context.run_migrations()
