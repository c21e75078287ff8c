"""JSON as bytes and as columns of text: what files and the connectors of providers share."""
