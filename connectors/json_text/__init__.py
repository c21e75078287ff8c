"""JSON as bytes and as columns of text, for files and for the connectors of providers."""
