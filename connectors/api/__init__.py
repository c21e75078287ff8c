"""The parts that all providers share: requests, lists, JSON, and writes that take effect once."""
