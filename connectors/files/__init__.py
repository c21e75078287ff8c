"""Files as sources and destinations: CSV and Parquet, here, compressed, or in cloud storage."""
