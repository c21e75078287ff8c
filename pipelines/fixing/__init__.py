"""Rejects that are corrected in a file, loaded, and joined to the report of their run."""
