"""Destinations that an engine writes: tables of Delta, Iceberg and Postgres, and folders of Parquet files."""
