"""Many sites on one machine: protocols that split public data, experiments, reports."""
