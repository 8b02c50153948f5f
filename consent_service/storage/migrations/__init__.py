"""Alembic migrations, run by `consent migrate` and, for SQLite, on start."""
