"""The only code that touches files, sockets and databases."""
