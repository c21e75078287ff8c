"""Databases as sources and destinations: one table of customers in DuckDB or Postgres."""
