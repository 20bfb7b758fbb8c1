"""The coordinator's side of a federation: rounds, aggregation, the journal."""
