"""The billing providers: what is special to each, one file each."""
