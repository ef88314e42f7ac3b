"""Schema versions, for Alembic; `barrier.schema` runs them."""
