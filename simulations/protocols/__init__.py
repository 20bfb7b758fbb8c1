"""Rules that turn manifests into sites and patient-disjoint splits."""
