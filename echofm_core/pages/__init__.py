"""Self-contained HTML pages: one look for the report of a run and for the diagnosis of data."""
