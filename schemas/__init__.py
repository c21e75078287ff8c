"""Definitions of valid data: the canonical customer, its codes, and the faults of records. Nothing here has side
effects."""
