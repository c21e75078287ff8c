"""Destinations that an engine writes: tables of Delta and Postgres, compared and written by its tasks."""
