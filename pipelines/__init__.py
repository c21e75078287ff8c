"""The processing of records: read, map, normalise, validate, stage, identify, plan, gate, apply, report."""
