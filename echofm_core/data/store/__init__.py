"""The clip store: decoded clips in memory maps, built once."""
