"""The billing providers: one file for the particulars of each."""
