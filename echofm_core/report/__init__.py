"""The report of a run, as a page and on a terminal."""
