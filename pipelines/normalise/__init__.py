"""One spelling for each value."""
