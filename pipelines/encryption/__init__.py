"""Encryption of the files of a run that hold records."""
