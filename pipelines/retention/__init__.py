"""How long the files of runs are kept: what each file is, which runs may go, and the erasure of one customer."""
