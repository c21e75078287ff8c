"""What happens to the records: read, map, normalise, validate, stage, identify, plan, gate, apply, report."""
