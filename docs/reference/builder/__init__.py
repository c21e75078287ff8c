"""What writes the pages of docs/reference/ that are derived from the code; build.py calls it."""
