"""The customer of each billing provider, one file per provider."""
