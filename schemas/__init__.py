"""What right data is: the canonical customer, its codes, and the faults a record can have. Nothing here acts."""
