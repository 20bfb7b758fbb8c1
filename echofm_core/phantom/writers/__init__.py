"""Phantoms written in the public data layouts, one file a layout."""
