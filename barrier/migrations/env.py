"""How Alembic runs the migrations: on the connection, and inside the transaction, of `barrier.schema`."""

from alembic import context


def run() -> None:
    """Run what Alembic has decided on."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=None, transactional_ddl=False)
    context.run_migrations()


if __name__ == "env_py":  # the name that Alembic gives to this file when it runs it
    run()
