"""What the connectors of all providers are made of: requests, lists, JSON, and writes that happen once."""
