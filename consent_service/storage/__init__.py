"""Rows in, values out: the only SQL of the service, on SQLite and PostgreSQL alike."""
