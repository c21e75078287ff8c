"""DuckDB: a table in a file as source and destination."""
