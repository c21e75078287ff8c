"""Postgres: its connection, and a table in it as source and destination."""
