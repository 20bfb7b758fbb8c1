"""The hospital's side of a federation: what runs where the data are."""
