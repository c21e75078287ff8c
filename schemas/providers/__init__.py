"""What a customer is at each billing provider, one file each."""
