"""File formats that are read here, one file each."""
