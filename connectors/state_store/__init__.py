"""A state directory in a bucket: a working copy on this machine, and locks that all machines see."""
