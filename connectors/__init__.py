"""The only code that accesses files, sockets and databases."""
