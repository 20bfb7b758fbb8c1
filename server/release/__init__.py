"""The signed folder of a run that a governance office files."""
